// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the fields of a thread are that tell who it is, for account.c. Made
 * into assembly with a kernel's own flags, like its asm-offsets.c, so that
 * the figures are that kernel's.
 */
#include <linux/kbuild.h>
#include <linux/sched.h>

int main(void);
int main(void)
{
	OFFSET(pid, task_struct, pid);
	OFFSET(tgid, task_struct, tgid);
	OFFSET(comm, task_struct, comm);
	return 0;
}
