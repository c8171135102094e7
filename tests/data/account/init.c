/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A host's whole user space, for tests of the accounting plugin: it sleeps,
 * computes, faults, forks and runs a guest, each a known number of times and
 * between marks, and prints the time stamp counter at every mark.
 *
 * The guest is real-mode code that writes to a port OUTS times, then halts.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOPS	1000000
#define PAGES	300
#define OUTS	50
#define SLEEP_NS	20000000
#define PORT	0x10

static int marker;

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static void check(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	reboot(RB_POWER_OFF);
}

/* The same number of instructions lies between RDTSC and mark each time. */
static void mark(const char *label)
{
	uint64_t tsc = rdtsc();

	check(write(marker, label, strlen(label)) > 0, "trace_marker");
	printf("%s %llu\n", label, (unsigned long long)tsc);
}

static void compute(void)
{
	uint64_t count = LOOPS;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(count));
}

static void sleep_ns(long ns)
{
	struct timespec time = { .tv_nsec = ns };

	nanosleep(&time, NULL);
}

static void fault(void)
{
	char *pages = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(pages != MAP_FAILED, "mmap");
	check(!madvise(pages, PAGES * 4096, MADV_NOHUGEPAGE), "madvise");
	for (int i = 0; i < PAGES; i++)
		pages[i * 4096] = 1;
	munmap(pages, PAGES * 4096);
}

static void fork_child(void)
{
	pid_t child = fork();

	check(child >= 0, "fork");
	if (!child) {
		compute();
		_exit(0);
	}
	check(waitpid(child, NULL, 0) == child, "waitpid");
}

static void run_guest(void)
{
	static const uint8_t code[] = {
		0xb9, OUTS, 0x00,	/* mov $OUTS, %cx */
		0xe6, PORT,		/* 1: out %al, $PORT */
		0xe2, 0xfc,		/* loop 1b */
		0xf4,			/* hlt */
	};
	struct kvm_userspace_memory_region region = { .memory_size = 4096 };
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_run *run;
	int kvm, vm, vcpu, outs = 0;
	void *memory;

	kvm = open("/dev/kvm", O_RDWR);
	check(kvm >= 0, "/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	check(vm >= 0, "KVM_CREATE_VM");
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(memory != MAP_FAILED, "mmap");
	memcpy(memory, code, sizeof(code));
	region.userspace_addr = (uintptr_t)memory;
	check(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "guest memory");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	check(vcpu >= 0, "KVM_CREATE_VCPU");
	run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
		   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	check(run != MAP_FAILED, "mmap of the vCPU");
	check(!ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = sregs.cs.selector = 0;
	check(!ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(!ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");

	mark("guest");
	do {
		check(!ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
		outs += run->exit_reason == KVM_EXIT_IO;
	} while (run->exit_reason == KVM_EXIT_IO);
	mark("guest-end");
	printf("outs %d, exit reason %d\n", outs, run->exit_reason);
}

int main(void)
{
	mount("none", "/dev", "devtmpfs", 0, "");
	if (!freopen("/dev/console", "w", stdout) || setvbuf(stdout, NULL, _IOLBF, 0))
		return 1;
	dup2(fileno(stdout), 2);
	mount("none", "/sys", "sysfs", 0, "");
	check(!mount("none", "/sys/kernel/tracing", "tracefs", 0, ""), "tracefs");
	marker = open("/sys/kernel/tracing/trace_marker", O_WRONLY);
	check(marker >= 0, "trace_marker");

	mark("warm-up");	/* what is touched first costs page faults */
	mark("begin");
	compute();
	mark("computed");
	sleep_ns(SLEEP_NS);
	mark("slept");
	fault();
	mark("faulted");
	fork_child();
	mark("forked");
	run_guest();
	mark("say \"\\\" and end\n");
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 1;
}
