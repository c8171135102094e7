/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hypervisor for one bug: it runs a guest INJECTIONS times, injects an
 * interrupt through the VMCB's EVENTINJ each time, and counts how often the
 * guest's handler is entered. The handler, with interrupts disabled, outlasts
 * several periods of the timer, so that the emulator has to leave its execution
 * loop before the guest's next #VMEXIT.
 *
 * Booted by multiboot in 32-bit protected mode; host and guest share one flat
 * address space without paging. Prints to the debug console, port 0xe9, and
 * ends the emulator through the isa-debug-exit device, port 0xf4.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define INJECTIONS	100
#define VECTOR		0x40
#define TIMER_HZ	1000

#define MSR_EFER	0xc0000080
#define MSR_VM_HSAVE	0xc0010117
#define EFER_SVME	(1 << 12)

#define INTERCEPT_VMRUN		(1 << 0)	/* of the word at 0x10 */
#define INTERCEPT_VMMCALL	(1 << 1)
#define EXIT_VMMCALL		0x81
#define EVENTINJ_VALID		(1u << 31)	/* type 0: external interrupt */

/* Offsets in the VMCB, from the AMD64 manual, volume 2, appendix B. */
enum {
	INTERCEPTS = 0x010, ASID = 0x058, EXIT_CODE = 0x070, EVENTINJ = 0x0a8,
	ES = 0x400, CS = 0x410, SS = 0x420, DS = 0x430, GDTR = 0x460, IDTR = 0x480,
	EFER = 0x4d0, CR0 = 0x558, RFLAGS = 0x570, RIP = 0x578, RSP = 0x5d8,
};

static u8 vmcb[4096] __attribute__((aligned(4096)));
static u8 hsave[4096] __attribute__((aligned(4096)));
static u8 guest_stack[4096] __attribute__((aligned(16)));
static volatile u32 delivered;

static struct { u16 low, selector, flags, high; } idt[256];
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
	/* The guest: nothing to do but to call the hypervisor. */
	"guest:	vmmcall\n"
	"	jmp guest\n"
	"handler: push %ecx\n"
	"	incl delivered\n"
	"	mov $3000000, %ecx\n"	/* 6 ms, at one instruction per ns */
	"1:	loop 1b\n"
	"	pop %ecx\n"
	"	iret\n");
extern const char guest[], handler[];

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

static void start_timer(void)
{
	u32 divisor = 1193182 / TIMER_HZ;

	outb(0x43, 0x34);		/* channel 0, rate generator */
	outb(0x40, divisor & 0xff);
	outb(0x40, divisor >> 8);
}

static void prepare_guest(void)
{
	u32 cr0;

	idt[VECTOR].low = (u32)handler & 0xffff;
	idt[VECTOR].selector = 0x08;
	idt[VECTOR].flags = 0x8e00;	/* interrupt gate: clears IF */
	idt[VECTOR].high = (u32)handler >> 16;

	set32(INTERCEPTS, INTERCEPT_VMRUN | INTERCEPT_VMMCALL);
	set32(ASID, 1);
	set_segment(CS, 0x08, 0xc9b);
	set_segment(SS, 0x10, 0xc93);
	set_segment(DS, 0x10, 0xc93);
	set_segment(ES, 0x10, 0xc93);
	set32(GDTR + 4, sizeof(gdt) - 1);
	set32(GDTR + 8, (u32)gdt);
	set32(IDTR + 4, sizeof(idt) - 1);
	set32(IDTR + 8, (u32)idt);
	set32(EFER, EFER_SVME);
	__asm__("mov %%cr0, %0" : "=r"(cr0));
	set32(CR0, cr0);
	set32(RFLAGS, 1 << 1);
	set32(RIP, (u32)guest);
	set32(RSP, (u32)guest_stack + sizeof(guest_stack));
}

static void run_guest(void)
{
	__asm__ volatile("clgi\n\tvmrun\n\tstgi" : : "a"(vmcb) : "memory", "cc",
			 "ebx", "ecx", "edx", "esi", "edi");
}

int main(void)
{
	static const struct { u16 limit; u32 base; } __attribute__((packed)) gdtr = {
		sizeof(gdt) - 1, (u32)gdt
	};
	u32 injected;

	__asm__ volatile("cli\n\tlgdt %0\n\tljmp $0x08, $1f\n1:" : : "m"(gdtr));
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : : "r"(0x10));
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE, (u32)hsave);
	start_timer();
	prepare_guest();

	for (injected = 0; injected < INJECTIONS; injected++) {
		set32(EVENTINJ, EVENTINJ_VALID | VECTOR);
		set32(RIP, (u32)guest);
		run_guest();
		if (*(volatile u32 *)(vmcb + EXIT_CODE) != EXIT_VMMCALL) {
			print("unexpected exit ");
			print_number(*(volatile u32 *)(vmcb + EXIT_CODE));
			print("\n");
			break;
		}
	}
	print("injected ");
	print_number(injected);
	print(" delivered ");
	print_number(delivered);
	print("\n");
	outb(0xf4, 0);
	for (;;)
		__asm__ volatile("hlt");
}
