/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hypervisor for one bug: on the first CPU it runs a guest again and again,
 * which calls it at once, while the second CPU does nothing but FXRSTOR. It
 * ends with the first #VMEXIT that is not the guest's call.
 *
 * The guest's nested page table maps its own 2 MiB only. Where the emulator
 * takes the host for a guest after a #VMEXIT, the host's next instruction is a
 * nested page fault.
 *
 * Booted by multiboot in 32-bit protected mode. Prints to the debug console,
 * port 0xe9, and ends the emulator through the isa-debug-exit device, port
 * 0xf4.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define RUNS		300000

#define MSR_EFER	0xc0000080
#define MSR_VM_HSAVE	0xc0010117
#define EFER_SVME	(1 << 12)
#define CR0_PG		(1u << 31)
#define CR4_PAE		(1 << 5)

#define INTERCEPT_VMRUN		(1 << 0)	/* of the word at 0x10 */
#define INTERCEPT_VMMCALL	(1 << 1)
#define EXIT_VMMCALL		0x81
#define NESTED_PAGING		(1 << 0)

#define PRESENT		0x01
#define PAGE_2MIB	0x87			/* present, writable, user, large */
#define GUEST		0x800000		/* where it is, 2 MiB of its own */

#define TRAMPOLINE	0x8000			/* the second CPU's first instruction */
#define RESTORES	0x9400			/* set when it is about to begin */

#define APIC_ICR	(*(volatile u32 *)0xfee00300)
#define ALL_BUT_ME	0xc0000
#define ICR_INIT	0x4500
#define ICR_STARTUP	0x4600

/* Offsets in the VMCB, from the AMD64 manual, volume 2, appendix B. */
enum {
	INTERCEPTS = 0x010, ASID = 0x058, EXIT_CODE = 0x070, NESTED_CTL = 0x090,
	NESTED_CR3 = 0x0b0, ES = 0x400, CS = 0x410, SS = 0x420, DS = 0x430,
	EFER = 0x4d0, CR0 = 0x558, RFLAGS = 0x570, RIP = 0x578,
};

static u8 vmcb[4096] __attribute__((aligned(4096)));
static u8 hsave[4096] __attribute__((aligned(4096)));
static u64 host_pages[4 * 512] __attribute__((aligned(4096)));
static u64 host_directories[4] __attribute__((aligned(32)));
static u64 nested_pages[512] __attribute__((aligned(4096)));
static u64 nested_directories[4] __attribute__((aligned(32)));
static const u64 gdt[] = { 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull };

__asm__(".section .multiboot, \"a\"\n"
	".long 0x1badb002, 0, -0x1badb002\n"
	".section .bss\n"
	".skip 4096\n"
	"stack_top:\n"
	".text\n"
	".global _start\n"
	"_start: mov $stack_top, %esp\n"
	"	call main\n"
	"guest:	vmmcall\n"
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

static void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static u64 rdmsr(u32 msr)
{
	u64 value;

	__asm__ volatile("rdmsr" : "=A"(value) : "c"(msr));
	return value;
}

static void wrmsr(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "A"(value));
}

static void print(const char *text)
{
	while (*text)
		outb(0xe9, *text++);
}

static void print_number(u32 number)
{
	if (number >= 10)
		print_number(number / 10);
	outb(0xe9, '0' + number % 10);
}

static void set32(u32 offset, u32 value)
{
	*(volatile u32 *)(vmcb + offset) = value;
}

static void set_segment(u32 offset, u16 selector, u16 attributes)
{
	set32(offset, selector | attributes << 16);
	set32(offset + 4, 0xffffffff);
}

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

	set32(INTERCEPTS, INTERCEPT_VMRUN | INTERCEPT_VMMCALL);
	set32(ASID, 1);
	set32(NESTED_CTL, NESTED_PAGING);
	set32(NESTED_CR3, (u32)nested_directories);
	set_segment(CS, 0x08, 0xc9b);
	set_segment(SS, 0x10, 0xc93);
	set_segment(DS, 0x10, 0xc93);
	set_segment(ES, 0x10, 0xc93);
	set32(EFER, EFER_SVME);
	set32(CR0, 1);
	set32(RFLAGS, 1 << 1);
}

static void run_guest(void)
{
	set32(RIP, GUEST);
	__asm__ volatile("clgi\n\tvmrun\n\tstgi" : : "a"(vmcb) : "memory", "cc",
			 "ebx", "ecx", "edx", "esi", "edi");
}

int main(void)
{
	static const struct { u16 limit; u32 base; } __attribute__((packed)) gdtr = {
		sizeof(gdt) - 1, (u32)gdt
	};
	u32 runs, code;

	__asm__ volatile("cli\n\tlgdt %0\n\tljmp $0x08, $1f\n1:" : : "m"(gdtr));
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : : "r"(0x10));
	enable_paging();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE, (u32)hsave);
	prepare_guest();
	start_second_cpu();

	for (runs = 0; runs < RUNS; runs++) {
		run_guest();
		code = *(volatile u32 *)(vmcb + EXIT_CODE);
		if (code != EXIT_VMMCALL) {
			print("unexpected exit ");
			print_number(code);
			print("\n");
			break;
		}
	}
	if (runs == RUNS)
		print("all exits expected\n");
	outb(0xf4, 0);
	for (;;)
		__asm__ volatile("hlt");
}
