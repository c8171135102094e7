/*
 * Where every instruction goes: accounts for a Linux host and its KVM guest
 *
 * In virtual time (-icount) every instruction that completes is charged to
 * the context that executed it: a thread of the host, in user mode or in the
 * kernel, the guest that a vCPU thread runs, what a #VMEXIT makes the host do
 * by exit reason, hard interrupts, softirqs. The accounts add up to the
 * instruction counter by construction: there is one place where it is read,
 * and what it moved on by goes to the context that was current until then.
 *
 * Contexts change where
 * - a block starts that belongs to another mode than the one before it.
 *   A block belongs to one mode for good: kernel or user by its address, host
 *   or guest because SVM guest mode is part of what QEMU looks blocks up by.
 * - the host's kernel gets to one of a few symbols, found in its System.map:
 *   it switches tasks, enters or leaves an interrupt or the softirqs.
 *
 * Whenever a program of the host writes to trace_marker, a line of JSON with
 * what it wrote and all accounts goes to the output file; nothing has to come
 * from outside for that. docs/accounting.md describes the output.
 *
 * A trace has a line for every change of context, with the instruction counter
 * and the idle time at that moment: where two runs part that should be equal,
 * their traces do so first.
 *
 * Options: out=FILE, map=SYSTEM.MAP, pid=, tgid= and comm= with the offsets
 * of these fields in task_struct, profile=on for counts by kernel symbol,
 * trace=FILE.
 *
 * The host has one CPU, four-level page tables and no KASLR.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

#define CPU                 0
#define COMM_LEN            16
#define MARK_MAX            1024
#define DIRECT_MAP          0xffff888000000000ull
#define VMCB_EXIT_CODE      0x70
#define MAX_NESTED          8

static const uint8_t vmrun_insn[] = { 0x0f, 0x01, 0xd8 };
#define RET_INSN            0xc3

typedef enum {
    HOST_KERNEL,
    HOST_USER,
    GUEST_KERNEL,
    GUEST_USER,
    N_MODES,            /* the mode before the first block */
} Mode;

static const char *const mode_names[N_MODES] = {
    "kernel", "user", "guest-kernel", "guest-user",
};

/* What the host does from one #VMEXIT to the next VMRUN. */
typedef struct {
    uint64_t code;
    uint64_t count;
    uint64_t insns[2];          /* HOST_KERNEL, HOST_USER */
} Exit;

/* A thread of the host, or one of the contexts below. */
typedef struct {
    int32_t pid;                /* of the thread, which others call tid */
    int32_t tgid;
    char comm[COMM_LEN];
    uint64_t insns[N_MODES];
    GPtrArray *exits;           /* of Exit, those of a vCPU's thread */
    Exit *exit;                 /* the last one, NULL before the first */
    uint64_t *symbols[2];       /* profile of host and guest kernel */
} Context;

static Context unknown = { .pid = -1, .comm = "[unknown]" };
static Context hardirq = { .pid = -2, .comm = "[hardirq]" };
static Context softirq = { .pid = -3, .comm = "[softirq]" };

typedef struct {
    uint64_t addr;
    const char *name;
} Symbol;

/* Where the host's kernel changes context, and where it marks. */
typedef enum {
    AT_SWITCH,
    AT_IRQ,
    AT_IRQENTRY_ENTER,
    AT_IRQENTRY_EXIT,
    AT_SOFTIRQ,
    AT_SOFTIRQ_RET,
    AT_MARK,
    AT_VMRUN,
    N_PLACES,
} Place;

/* Interrupts and softirqs that are being served on top of a thread. */
typedef struct {
    Context *context;
    int depth;                  /* irqentry_enter() without irqentry_exit() */
} Nested;

static FILE *out, *trace;
static bool profile;
static uint64_t offset_pid, offset_tgid, offset_comm;

static GArray *symbols;         /* of Symbol, by address */
static GHashTable *places;      /* address to Place */
static uint64_t softirq_start, softirq_end, pcpu_hot;
static GHashTable *vmruns;      /* addresses of the instructions after one */

static struct qemu_plugin_register *rax, *rsi, *rdx, *gs_base;
static GByteArray *buffer;
static qemu_plugin_u64 mode;    /* read by conditional callbacks */

static GHashTable *threads;     /* pid to Context */
static Context *thread = &unknown;
static Nested nested[MAX_NESTED];
static int n_nested;
static bool in_guest;
static uint64_t vmcb;

static uint64_t started, last, idle_ns;
static uint64_t nowhere;
static uint64_t *account = &nowhere;    /* what is executed now goes here */
static uint64_t *by_symbol = &nowhere;
static size_t symbol;

static G_NORETURN void fail(const char *what)
{
    fprintf(stderr, "account: %s\n", what);
    fflush(NULL);
    _exit(EXIT_FAILURE);        /* of a vCPU's thread: no atexit handlers */
}

/*
 * Reading the machine
 */

static const void *read_memory(uint64_t addr, size_t len)
{
    if (!qemu_plugin_read_memory_vaddr(addr, buffer, len)) {
        fail("kernel memory cannot be read: are System.map and the offsets "
             "those of the kernel that runs?");
    }
    return buffer->data;
}

static uint64_t read_u64(uint64_t addr)
{
    uint64_t value;

    memcpy(&value, read_memory(addr, sizeof(value)), sizeof(value));
    return value;
}

static int32_t read_s32(uint64_t addr)
{
    int32_t value;

    memcpy(&value, read_memory(addr, sizeof(value)), sizeof(value));
    return value;
}

static uint64_t read_reg(struct qemu_plugin_register *reg)
{
    uint64_t value;

    g_byte_array_set_size(buffer, 0);
    if (qemu_plugin_read_register(reg, buffer) != sizeof(value)) {
        fail("a register cannot be read");
    }
    memcpy(&value, buffer->data, sizeof(value));
    return value;
}

/*
 * Accounts
 */

/* Where on to from here: set account and by_symbol for what is executed next */
static void choose_account(void)
{
    Mode now = qemu_plugin_u64_get(mode, CPU);
    Context *context = n_nested ? nested[n_nested - 1].context : thread;

    if (n_nested && now != HOST_KERNEL) {
        fail("left the host's kernel in the middle of an interrupt");
    }
    if (now <= HOST_USER && context->exit) {
        account = &context->exit->insns[now];
    } else {
        account = &context->insns[now];
    }

    by_symbol = &nowhere;
    if (profile && (now == HOST_KERNEL || now == GUEST_KERNEL)) {
        uint64_t **counts = &context->symbols[now == GUEST_KERNEL];

        if (!*counts) {
            *counts = g_new0(uint64_t, symbols->len);
        }
        by_symbol = &(*counts)[symbol];
    }
}

/*
 * Charge what was executed before an instruction; left says how many of its
 * block are still to be executed, with it.
 */
static void charge(unsigned int left)
{
    uint64_t insns;

    qemu_plugin_icount(&insns, &idle_ns);
    insns -= left;
    if (account == &nowhere) {
        started = last = insns;     /* not 0 where a state was loaded */
    }
    *account += insns - last;
    *by_symbol += insns - last;
    last = insns;
}

static Context *context_of(uint64_t task)
{
    gpointer pid = GINT_TO_POINTER(read_s32(task + offset_pid));
    Context *context = g_hash_table_lookup(threads, pid);

    if (!context) {
        context = g_new0(Context, 1);
        context->pid = GPOINTER_TO_INT(pid);
        context->exits = g_ptr_array_new();
        g_hash_table_insert(threads, pid, context);
    }
    context->tgid = read_s32(task + offset_tgid);
    memcpy(context->comm, read_memory(task + offset_comm, COMM_LEN), COMM_LEN);
    return context;
}

static void push(Context *context)
{
    if (n_nested == MAX_NESTED) {
        fail("interrupts are entered and never left");
    }
    nested[n_nested++] = (Nested) { .context = context };
}

static void note_exit(uint64_t code)
{
    for (guint i = 0; i < thread->exits->len; i++) {
        thread->exit = g_ptr_array_index(thread->exits, i);
        if (thread->exit->code == code) {
            thread->exit->count++;
            return;
        }
    }
    thread->exit = g_new0(Exit, 1);
    thread->exit->code = code;
    thread->exit->count = 1;
    g_ptr_array_add(thread->exits, thread->exit);
}

/*
 * Output
 */

static void put_string(const char *text, size_t len)
{
    fputc('"', out);
    for (size_t i = 0; i < len && text[i]; i++) {
        unsigned char c = text[i];

        fprintf(out, c < ' ' || c > '~' || c == '"' || c == '\\' ?
                "\\u%04x" : "%c", c);
    }
    fputc('"', out);
}

static void put_symbols(const char *name, const uint64_t *counts)
{
    const char *separator = "";

    fprintf(out, ", \"%s\": {", name);
    for (guint i = 0; counts && i < symbols->len; i++) {
        if (counts[i]) {
            fprintf(out, "%s\"%" PRIx64 "\": %" PRIu64, separator,
                    g_array_index(symbols, Symbol, i).addr, counts[i]);
            separator = ", ";
        }
    }
    fputc('}', out);
}

static void put_context(const Context *context)
{
    fprintf(out, "{\"pid\": %d, \"tgid\": %d, \"comm\": ",
            context->pid, context->tgid);
    put_string(context->comm, COMM_LEN);
    fprintf(out, ", \"kernel\": %" PRIu64 ", \"user\": %" PRIu64
            ", \"guest_kernel\": %" PRIu64 ", \"guest_user\": %" PRIu64
            ", \"exits\": [",
            context->insns[HOST_KERNEL], context->insns[HOST_USER],
            context->insns[GUEST_KERNEL], context->insns[GUEST_USER]);
    for (guint i = 0; context->exits && i < context->exits->len; i++) {
        const Exit *exit = g_ptr_array_index(context->exits, i);

        fprintf(out, "%s{\"code\": %" PRIu64 ", \"count\": %" PRIu64
                ", \"kernel\": %" PRIu64 ", \"user\": %" PRIu64 "}",
                i ? ", " : "", exit->code, exit->count,
                exit->insns[HOST_KERNEL], exit->insns[HOST_USER]);
    }
    fputc(']', out);
    if (profile) {
        put_symbols("host_symbols", context->symbols[0]);
        put_symbols("guest_symbols", context->symbols[1]);
    }
    fputc('}', out);
}

static gint by_pid(gconstpointer a, gconstpointer b)
{
    return ((const Context *)a)->pid - ((const Context *)b)->pid;
}

static void put_mark(const char *label, size_t len)
{
    GList *all = g_list_sort(g_hash_table_get_values(threads), by_pid);

    fputs("{\"mark\": ", out);
    put_string(label, len);
    fprintf(out, ", \"insns\": %" PRIu64 ", \"idle_ns\": %" PRIu64
            ", \"contexts\": [", last - started, idle_ns);
    put_context(&unknown);
    fputs(", ", out);
    put_context(&hardirq);
    fputs(", ", out);
    put_context(&softirq);
    for (GList *item = all; item; item = item->next) {
        fputs(", ", out);
        put_context(item->data);
    }
    fputs("]}\n", out);
    g_list_free(all);
    if (fflush(out)) {
        fail("cannot write to the output file");
    }
}

/* tracing_mark_write(filp, ubuf, count, pos): a program of the host marks */
static void mark(void)
{
    uint64_t ubuf = read_reg(rsi);
    size_t len = MIN(read_reg(rdx), MARK_MAX);
    Context *current = context_of(read_u64(read_reg(gs_base) + pcpu_hot));

    /* Here the kernel can be asked which thread it is in. */
    if (thread == &unknown) {
        thread = current;
    } else if (thread != current) {
        fail("lost track of which thread runs");
    }
    if (len && !qemu_plugin_read_memory_vaddr(ubuf, buffer, len)) {
        fail("a mark's text is in a page that its writer has not touched");
    }
    if (len && buffer->data[len - 1] == '\n') {
        len--;
    }
    put_mark((const char *)buffer->data, len);
}

/*
 * Trace: written through at every line, since the emulator may be killed
 */

static void G_GNUC_PRINTF(1, 2) put_event(const char *format, ...)
{
    va_list values;

    if (!trace) {
        return;
    }
    fprintf(trace, "%" PRIu64 " %" PRIu64 " ", last, idle_ns);
    va_start(values, format);
    vfprintf(trace, format, values);
    va_end(values);
    fputc('\n', trace);
}

/*
 * Callbacks at execution. The user data is not a pointer, but what is known
 * about a block or an instruction, packed into one.
 */

#define LEFT_BITS           10      /* a block has 512 instructions at most */
#define KIND_BITS           3

static void *pack(size_t rest, unsigned int kind, size_t left)
{
    G_STATIC_ASSERT(N_MODES < 1 << KIND_BITS && N_PLACES <= 1 << KIND_BITS);

    return (void *)(uintptr_t)(rest << (KIND_BITS + LEFT_BITS) |
                               kind << LEFT_BITS | left);
}

static unsigned int left_of(void *packed)
{
    return (uintptr_t)packed & ((1 << LEFT_BITS) - 1);
}

static unsigned int kind_of(void *packed)
{
    return (uintptr_t)packed >> LEFT_BITS & ((1 << KIND_BITS) - 1);
}

static size_t rest_of(void *packed)
{
    return (uintptr_t)packed >> (LEFT_BITS + KIND_BITS);
}

static void block_exec(unsigned int cpu_index, void *udata)
{
    Mode now = kind_of(udata);

    charge(left_of(udata));
    if ((now >= GUEST_KERNEL) != in_guest) {
        fail("entered or left the guest unnoticed: the machine's state must "
             "not be saved while the guest runs");
    }
    if (now != qemu_plugin_u64_get(mode, CPU)) {
        put_event("%s", mode_names[now]);
    }
    qemu_plugin_u64_set(mode, CPU, now);
    symbol = rest_of(udata);
    choose_account();
}

/* The first instruction after a VMRUN is where the host goes on at a #VMEXIT */
static void block_vmexit(unsigned int cpu_index, void *udata)
{
    charge(left_of(udata));
    if (!in_guest) {
        fail("a #VMEXIT without VMRUN: the machine's state must not be saved "
             "while the guest runs");
    }
    in_guest = false;
    note_exit(read_u64(vmcb + VMCB_EXIT_CODE));
    put_event("exit 0x%" PRIx64, thread->exit->code);
    qemu_plugin_u64_set(mode, CPU, HOST_KERNEL);
    symbol = rest_of(udata);
    choose_account();
}

static void at_place(unsigned int cpu_index, void *udata)
{
    Nested *top = n_nested ? &nested[n_nested - 1] : NULL;
    bool in_hardirq = top && top->context == &hardirq;

    charge(left_of(udata));
    switch ((Place)kind_of(udata)) {
    case AT_SWITCH:             /* __switch_to_asm(prev, next) */
        if (top) {
            fail("a task switch in the middle of an interrupt");
        }
        thread = context_of(read_reg(rsi));
        put_event("thread %d %.*s", thread->pid, COMM_LEN, thread->comm);
        break;
    case AT_IRQ:
        push(&hardirq);
        put_event("interrupt %s",
                  g_array_index(symbols, Symbol, rest_of(udata)).name);
        break;
    case AT_IRQENTRY_ENTER:     /* exceptions have these, too */
        if (in_hardirq) {
            top->depth++;
        }
        break;
    case AT_IRQENTRY_EXIT:
        if (in_hardirq && --top->depth == 0) {
            n_nested--;
            put_event("interrupt-end");
        }
        break;
    case AT_SOFTIRQ:
        push(&softirq);
        put_event("softirq");
        break;
    case AT_SOFTIRQ_RET:
        if (!top || in_hardirq) {
            fail("softirqs ended that never began");
        }
        n_nested--;
        put_event("softirq-end");
        break;
    case AT_MARK:
        mark();
        break;
    case AT_VMRUN:
        if (thread == &unknown || top) {
            fail("VMRUN where no thread is");
        }
        vmcb = DIRECT_MAP + read_reg(rax);
        in_guest = true;
        break;
    default:
        g_assert_not_reached();
    }
    choose_account();
}

/*
 * Translation, which happens right before the first execution
 */

static size_t symbol_at(uint64_t addr)
{
    size_t low = 0, high = symbols->len;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (g_array_index(symbols, Symbol, middle).addr <= addr) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool find_place(struct qemu_plugin_insn *insn, Place *place)
{
    uint64_t addr = qemu_plugin_insn_vaddr(insn);
    gpointer found;
    uint8_t code[sizeof(vmrun_insn)];
    size_t len = qemu_plugin_insn_data(insn, code, sizeof(code));

    if (g_hash_table_lookup_extended(places, &addr, NULL, &found)) {
        *place = GPOINTER_TO_INT(found);
        return true;
    }
    if (len == sizeof(code) && !memcmp(code, vmrun_insn, len)) {
        *place = AT_VMRUN;
        addr += len;
        g_hash_table_add(vmruns, g_memdup2(&addr, sizeof(addr)));
        return true;
    }
    if (addr >= softirq_start && addr < softirq_end && code[0] == RET_INSN) {
        *place = AT_SOFTIRQ_RET;
        return true;
    }
    return false;
}

static void block_trans(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    uint64_t pc = qemu_plugin_tb_vaddr(tb);
    size_t n_insns = qemu_plugin_tb_n_insns(tb);
    bool kernel = pc >> 63;
    bool vmexit = g_hash_table_contains(vmruns, &pc);
    bool guest = in_guest && !vmexit;
    Mode own = (guest ? GUEST_KERNEL : HOST_KERNEL) + !kernel;
    void *udata = pack(profile && kernel ? symbol_at(pc) : 0, own, n_insns);

    if (vmexit) {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, block_vmexit,
                                             QEMU_PLUGIN_CB_NO_REGS, udata);
    } else if (profile) {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, block_exec,
                                             QEMU_PLUGIN_CB_NO_REGS, udata);
    } else {
        qemu_plugin_register_vcpu_tb_exec_cond_cb(tb, block_exec,
                                                  QEMU_PLUGIN_CB_NO_REGS,
                                                  QEMU_PLUGIN_COND_NE,
                                                  mode, own, udata);
    }
    for (size_t i = 0; own == HOST_KERNEL && i < n_insns; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        Place place;

        if (find_place(insn, &place)) {
            size_t at = symbol_at(qemu_plugin_insn_vaddr(insn));

            qemu_plugin_register_vcpu_insn_exec_cb(insn, at_place,
                                                   QEMU_PLUGIN_CB_R_REGS,
                                                   pack(at, place,
                                                        n_insns - i));
        }
    }
}

static struct qemu_plugin_register *find_reg(const GArray *regs,
                                             const char *name)
{
    for (guint i = 0; i < regs->len; i++) {
        qemu_plugin_reg_descriptor *reg =
            &g_array_index(regs, qemu_plugin_reg_descriptor, i);

        if (!strcmp(reg->name, name)) {
            return reg->handle;
        }
    }
    fail("a register is missing: is this x86-64?");
}

static void vcpu_init(qemu_plugin_id_t id, unsigned int cpu_index)
{
    g_autoptr(GArray) regs = qemu_plugin_get_registers();

    if (!qemu_plugin_icount(&started, &idle_ns)) {
        fail("needs virtual time: -icount shift=0,sleep=off");
    }
    rax = find_reg(regs, "rax");
    rsi = find_reg(regs, "rsi");
    rdx = find_reg(regs, "rdx");
    gs_base = find_reg(regs, "gs_base");
    qemu_plugin_u64_set(mode, CPU, N_MODES);
}

/*
 * System.map: lines of an address, a type and a name, by address
 */

static const struct {
    const char *name;
    Place place;
} named[] = {
    { "__switch_to_asm", AT_SWITCH },
    { "asm_common_interrupt", AT_IRQ },
    { "asm_spurious_interrupt", AT_IRQ },
    { "irqentry_enter", AT_IRQENTRY_ENTER },
    { "irqentry_exit", AT_IRQENTRY_EXIT },
    { "handle_softirqs", AT_SOFTIRQ },
    { "tracing_mark_write", AT_MARK },
};

static void add_place(uint64_t addr, Place place)
{
    g_hash_table_insert(places, g_memdup2(&addr, sizeof(addr)),
                        GINT_TO_POINTER(place));
}

static void add_symbol(uint64_t addr, const char *name, size_t *n_named)
{
    Symbol entry = { addr, g_strdup(name) };

    if (softirq_start && !softirq_end && addr > softirq_start) {
        softirq_end = addr;
    }
    if (g_str_has_prefix(name, "asm_sysvec_")) {
        add_place(addr, AT_IRQ);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(named); i++) {
        if (!strcmp(name, named[i].name)) {
            add_place(addr, named[i].place);
            ++*n_named;
        }
    }
    if (!strcmp(name, "handle_softirqs")) {
        softirq_start = addr;
    }
    if (addr != g_array_index(symbols, Symbol, symbols->len - 1).addr) {
        g_array_append_val(symbols, entry);
    }
}

static bool read_map(const char *path)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    size_t n_named = 0;
    Symbol none = { 0, "" };        /* for kernel addresses without a symbol */

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        fprintf(stderr, "account: %s: cannot be read\n", path);
        return false;
    }
    g_array_append_val(symbols, none);
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) words = g_strsplit(*line, " ", 3);
        uint64_t addr;

        if (g_strv_length(words) != 3) {
            continue;
        }
        addr = g_ascii_strtoull(words[0], NULL, 16);
        if (!strcmp(words[2], "pcpu_hot")) {
            pcpu_hot = addr;
        } else if (addr >> 63 && strchr("tTwW", words[1][0])) {
            add_symbol(addr, words[2], &n_named);
        }
    }
    if (n_named != G_N_ELEMENTS(named) || !softirq_end || !pcpu_hot) {
        fprintf(stderr, "account: %s: lacks symbols of Linux 6.12 that "
                "contexts are told apart by, or has one twice\n", path);
        return false;
    }
    return true;
}

static bool parse_option(const char *name, const char *value, char **map)
{
    if (!value) {
        return false;
    }
    if (!strcmp(name, "profile")) {
        return qemu_plugin_bool_parse(name, value, &profile);
    }
    if (!strcmp(name, "map")) {
        *map = g_strdup(value);
    } else if (!strcmp(name, "out")) {
        out = fopen(value, "w");
        return out != NULL;
    } else if (!strcmp(name, "trace")) {
        trace = fopen(value, "w");
        return trace && !setvbuf(trace, NULL, _IOLBF, BUFSIZ);
    } else if (!strcmp(name, "pid")) {
        offset_pid = g_ascii_strtoull(value, NULL, 0);
    } else if (!strcmp(name, "tgid")) {
        offset_tgid = g_ascii_strtoull(value, NULL, 0);
    } else if (!strcmp(name, "comm")) {
        offset_comm = g_ascii_strtoull(value, NULL, 0);
    } else {
        return false;
    }
    return true;
}

QEMU_PLUGIN_EXPORT
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
                        int argc, char **argv)
{
    g_autofree char *map = NULL;

    for (int i = 0; i < argc; i++) {
        g_auto(GStrv) words = g_strsplit(argv[i], "=", 2);

        if (!parse_option(words[0], words[1], &map)) {
            fprintf(stderr, "account: %s: not an option, or not usable\n",
                    argv[i]);
            return -1;
        }
    }
    if (!out || !map || !offset_pid || !offset_tgid || !offset_comm) {
        fputs("account: needs out=, map=, pid=, tgid= and comm=\n", stderr);
        return -1;
    }
    if (!info->system_emulation || info->system.max_vcpus != 1) {
        fputs("account: works for machines with one CPU\n", stderr);
        return -1;
    }
    symbols = g_array_new(false, false, sizeof(Symbol));
    places = g_hash_table_new(g_int64_hash, g_int64_equal);
    vmruns = g_hash_table_new(g_int64_hash, g_int64_equal);
    threads = g_hash_table_new(NULL, NULL);
    buffer = g_byte_array_new();
    mode = qemu_plugin_scoreboard_u64(
        qemu_plugin_scoreboard_new(sizeof(uint64_t)));
    if (!read_map(map)) {
        return -1;
    }
    qemu_plugin_register_vcpu_init_cb(id, vcpu_init);
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_trans);
    return 0;
}
