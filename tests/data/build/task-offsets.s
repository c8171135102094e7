	
.ascii "->pid $1320 offsetof(struct task_struct, pid)"	#
# 0 "" 2
--
	
.ascii "->tgid $1324 offsetof(struct task_struct, tgid)"	#
# 0 "" 2
--
	
.ascii "->comm $1792 offsetof(struct task_struct, comm)"	#
# 0 "" 2
