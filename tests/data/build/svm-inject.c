/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hypervisor for one bug: it runs a guest INJECTIONS times, injects an
 * interrupt through the VMCB's EVENTINJ each time, and counts how often the
 * guest's handler is entered. The handler, with interrupts disabled, outlasts
 * several periods of the timer, so that the emulator has to leave its execution
 * loop before the guest's next #VMEXIT.
 *
 * Host and guest share one flat address space without paging.
 */
#include "svm.h"

#define INJECTIONS	100
#define VECTOR		0x40
#define TIMER_HZ	1000

#define EVENTINJ_VALID	(1u << 31)	/* type 0: external interrupt */

static u8 guest_stack[4096] __attribute__((aligned(16)));
static volatile u32 delivered;

static struct gate idt[256];

/* The guest: nothing to do but to call the hypervisor. */
__asm__("guest:	vmmcall\n"
	"	jmp guest\n"
	"handler: push %ecx\n"
	"	incl delivered\n"
	"	mov $3000000, %ecx\n"	/* 6 ms, at one instruction per ns */
	"1:	loop 1b\n"
	"	pop %ecx\n"
	"	iret\n");
extern const char guest[], handler[];

static void start_timer(void)
{
	u32 divisor = 1193182 / TIMER_HZ;

	outb(0x43, 0x34);		/* channel 0, rate generator */
	outb(0x40, divisor & 0xff);
	outb(0x40, divisor >> 8);
}

static void prepare_guest(void)
{
	set_gate(&idt[VECTOR], handler);
	prepare_vmcb();
	share_with_guest(idt, sizeof(idt));
	set32(RSP, (u32)guest_stack + sizeof(guest_stack));
}

int main(void)
{
	u32 injected, code;

	prepare_host();
	start_timer();
	prepare_guest();

	for (injected = 0; injected < INJECTIONS; injected++) {
		set32(EVENTINJ, EVENTINJ_VALID | VECTOR);
		code = run_guest((u32)guest);
		if (code != EXIT_VMMCALL) {
			print("unexpected exit ");
			print_number(code);
			print("\n");
			break;
		}
	}
	print("injected ");
	print_number(injected);
	print(" delivered ");
	print_number(delivered);
	print("\n");
	end_emulator();
}
