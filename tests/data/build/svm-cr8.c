/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hypervisor for one bug: its guest has a virtual interrupt pending, with a
 * priority below its task priority, and lowers that by a write to CR8. The
 * interrupt has to arrive as soon as the guest enables interrupts.
 *
 * Host and guest share one flat address space without paging.
 */
#include "svm.h"

#define RUNS		100
#define VECTOR		0x40

#define V_TPR(priority)		(priority)
#define V_IRQ			(1u << 8)
#define V_INTR_PRIO(priority)	((priority) << 16)
#define V_INTR_MASKING		(1u << 24)

static u8 guest_stack[4096] __attribute__((aligned(16)));
static volatile u32 early, delivered;
static struct gate idt[256];

__asm__("guest:	mov delivered, %ecx\n"
	"	xor %eax, %eax\n"
	"	.byte 0xf0, 0x0f, 0x22, 0xc0\n"	/* mov %eax, %cr8: LOCK stands for REX.R */
	"	cmp delivered, %ecx\n"
	"	je 1f\n"
	"	incl early\n"
	"1:	sti\n"
	"	nop\n"
	"	nop\n"
	"	cli\n"
	"	vmmcall\n"
	"	jmp guest\n"
	"handler: incl delivered\n"
	"	iret\n");
extern const char guest[], handler[];

static void prepare_guest(void)
{
	set_gate(&idt[VECTOR], handler);
	prepare_vmcb();
	share_with_guest(idt, sizeof(idt));
	set32(INT_VECTOR, VECTOR);
}

int main(void)
{
	u32 runs, code;

	prepare_host();
	prepare_guest();

	for (runs = 0; runs < RUNS; runs++) {
		set32(INT_CTL, V_TPR(2) | V_IRQ | V_INTR_PRIO(1) | V_INTR_MASKING);
		set32(RSP, (u32)guest_stack + sizeof(guest_stack));
		set32(RFLAGS, 1 << 1);
		code = run_guest((u32)guest);
		if (code != EXIT_VMMCALL) {
			print("unexpected exit ");
			print_number(code);
			print("\n");
			break;
		}
	}
	print("pending ");
	print_number(runs);
	print(" delivered ");
	print_number(delivered);
	print(" early ");
	print_number(early);
	print("\n");
	end_emulator();
}
