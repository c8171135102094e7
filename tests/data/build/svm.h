/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the bare-metal hypervisors have in common. They are booted by multiboot
 * in 32-bit protected mode, print to the debug console, port 0xe9, and end the
 * emulator through the isa-debug-exit device, port 0xf4.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define MSR_EFER	0xc0000080
#define MSR_VM_HSAVE	0xc0010117
#define EFER_SVME	(1 << 12)

#define INTERCEPT_VMRUN		(1 << 0)	/* of the word at 0x10 */
#define INTERCEPT_VMMCALL	(1 << 1)
#define EXIT_VMMCALL		0x81

/* Offsets in the VMCB, from the AMD64 manual, volume 2, appendix B. */
enum {
	INTERCEPTS = 0x010, ASID = 0x058, INT_CTL = 0x060, INT_VECTOR = 0x064,
	EXIT_CODE = 0x070, NESTED_CTL = 0x090,
	EVENTINJ = 0x0a8, NESTED_CR3 = 0x0b0, ES = 0x400, CS = 0x410, SS = 0x420,
	DS = 0x430, GDTR = 0x460, IDTR = 0x480, EFER = 0x4d0, CR0 = 0x558,
	RFLAGS = 0x570, RIP = 0x578, RSP = 0x5d8,
};

/* A gate of a table of interrupt vectors, see set_gate(). */
struct gate { u16 low, selector, flags, high; };

static u8 vmcb[4096] __attribute__((aligned(4096)));
static u8 hsave[4096] __attribute__((aligned(4096)));
static const u64 gdt[] = { 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull };

__asm__(".section .multiboot, \"a\"\n"
	".long 0x1badb002, 0, -0x1badb002\n"
	".section .bss\n"
	".skip 4096\n"
	"stack_top:\n"
	".text\n"
	".global _start\n"
	"_start: mov $stack_top, %esp\n"
	"	call main\n");

static inline void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u64 rdmsr(u32 msr)
{
	u64 value;

	__asm__ volatile("rdmsr" : "=A"(value) : "c"(msr));
	return value;
}

static inline void wrmsr(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "A"(value));
}

static inline void print(const char *text)
{
	while (*text)
		outb(0xe9, *text++);
}

static inline void print_number(u32 number)
{
	if (number >= 10)
		print_number(number / 10);
	outb(0xe9, '0' + number % 10);
}

static inline void set32(u32 offset, u32 value)
{
	*(volatile u32 *)(vmcb + offset) = value;
}

static inline void set_segment(u32 offset, u16 selector, u16 attributes)
{
	set32(offset, selector | attributes << 16);
	set32(offset + 4, 0xffffffff);
}

/* Have a vector handled, with interrupts disabled. */
static inline void set_gate(struct gate *gate, const char *handler)
{
	gate->low = (u32)handler & 0xffff;
	gate->selector = 0x08;
	gate->flags = 0x8e00;
	gate->high = (u32)handler >> 16;
}

/* Load a GDT of flat segments, with interrupts off, and let SVM be used. */
static inline void prepare_host(void)
{
	static const struct { u16 limit; u32 base; } __attribute__((packed)) gdtr = {
		sizeof(gdt) - 1, (u32)gdt
	};

	__asm__ volatile("cli\n\tlgdt %0\n\tljmp $0x08, $1f\n1:" : : "m"(gdtr));
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : : "r"(0x10));
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE, (u32)hsave);
}

/* Let VMRUN and VMMCALL leave the guest, and give it flat segments. */
static inline void prepare_vmcb(void)
{
	set32(INTERCEPTS, INTERCEPT_VMRUN | INTERCEPT_VMMCALL);
	set32(ASID, 1);
	set_segment(CS, 0x08, 0xc9b);
	set_segment(SS, 0x10, 0xc93);
	set_segment(DS, 0x10, 0xc93);
	set_segment(ES, 0x10, 0xc93);
	set32(EFER, EFER_SVME);
	set32(RFLAGS, 1 << 1);
}

/* Give the guest the host's GDT and CR0, and a table of interrupt vectors. */
static inline void share_with_guest(const struct gate *idt, u32 idt_size)
{
	u32 cr0;

	set32(GDTR + 4, sizeof(gdt) - 1);
	set32(GDTR + 8, (u32)gdt);
	set32(IDTR + 4, idt_size - 1);
	set32(IDTR + 8, (u32)idt);
	__asm__("mov %%cr0, %0" : "=r"(cr0));
	set32(CR0, cr0);
}

/* Run the guest from RIP on; return the code of its #VMEXIT. */
static inline u32 run_guest(u32 rip)
{
	set32(RIP, rip);
	__asm__ volatile("clgi\n\tvmrun\n\tstgi" : : "a"(vmcb) : "memory", "cc",
			 "ebx", "ecx", "edx", "esi", "edi");
	return *(volatile u32 *)(vmcb + EXIT_CODE);
}

static inline __attribute__((noreturn)) void end_emulator(void)
{
	outb(0xf4, 0);
	for (;;)
		__asm__ volatile("hlt");
}
