/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hypervisor for one bug: on the first CPU it runs a guest again and again,
 * which calls it at once, while the second CPU does nothing but FXRSTOR. It
 * ends with the first #VMEXIT that is not the guest's call.
 *
 * The guest's nested page table maps its own 2 MiB only. Where the emulator
 * takes the host for a guest after a #VMEXIT, the host's next instruction is a
 * nested page fault.
 */
#include "svm.h"

#define RUNS		100000

#define CR0_PG		(1u << 31)
#define CR4_PAE		(1 << 5)
#define NESTED_PAGING	(1 << 0)

#define PRESENT		0x01
#define PAGE_2MIB	0x87			/* present, writable, user, large */
#define GUEST		0x800000		/* where it is, 2 MiB of its own */

#define TRAMPOLINE	0x8000			/* the second CPU's first instruction */
#define RESTORES	0x9400			/* set when it is about to begin */

#define APIC_ICR	(*(volatile u32 *)0xfee00300)
#define ALL_BUT_ME	0xc0000
#define ICR_INIT	0x4500
#define ICR_STARTUP	0x4600

static u64 host_pages[4 * 512] __attribute__((aligned(4096)));
static u64 host_directories[4] __attribute__((aligned(32)));
static u64 nested_pages[512] __attribute__((aligned(4096)));
static u64 nested_directories[4] __attribute__((aligned(32)));

__asm__("guest:	vmmcall\n"
	"guest_end:\n"
	/* The second CPU, in real mode. */
	".code16\n"
	"second: cli\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	fninit\n"
	"	fxsave 0x9000\n"
	"	movb $1, 0x9400\n"
	"1:	fxrstor 0x9000\n"
	"	jmp 1b\n"
	"second_end:\n"
	".code32\n");
extern const u8 guest[], guest_end[], second[], second_end[];

static void copy(u32 where, const u8 *from, const u8 *end)
{
	volatile u8 *to = (volatile u8 *)where;

	while (from < end)
		*to++ = *from++;
}

static void enable_paging(void)
{
	u32 value, i;

	for (i = 0; i < 4 * 512; i++)
		host_pages[i] = i << 21 | PAGE_2MIB;
	for (i = 0; i < 4; i++)
		host_directories[i] = (u32)(host_pages + 512 * i) | PRESENT;
	__asm__("mov %%cr4, %0" : "=r"(value));
	__asm__ volatile("mov %0, %%cr4" : : "r"(value | CR4_PAE));
	__asm__ volatile("mov %0, %%cr3" : : "r"(host_directories));
	__asm__("mov %%cr0, %0" : "=r"(value));
	__asm__ volatile("mov %0, %%cr0" : : "r"(value | CR0_PG) : "memory");
}

static void start_second_cpu(void)
{
	volatile u8 *restores = (volatile u8 *)RESTORES;

	*restores = 0;
	copy(TRAMPOLINE, second, second_end);
	APIC_ICR = ALL_BUT_ME | ICR_INIT;
	APIC_ICR = ALL_BUT_ME | ICR_STARTUP | TRAMPOLINE >> 12;
	while (!*restores)
		__asm__ volatile("pause");
}

static void prepare_guest(void)
{
	copy(GUEST, guest, guest_end);
	nested_pages[GUEST >> 21] = GUEST | PAGE_2MIB;
	nested_directories[0] = (u32)nested_pages | PRESENT;

	prepare_vmcb();
	set32(NESTED_CTL, NESTED_PAGING);
	set32(NESTED_CR3, (u32)nested_directories);
	set32(CR0, 1);
}

int main(void)
{
	u32 runs, code;

	prepare_host();
	enable_paging();
	prepare_guest();
	start_second_cpu();

	for (runs = 0; runs < RUNS; runs++) {
		code = run_guest(GUEST);
		if (code != EXIT_VMMCALL) {
			print("unexpected exit ");
			print_number(code);
			print("\n");
			end_emulator();
		}
	}
	print("all exits expected\n");
	end_emulator();
}
