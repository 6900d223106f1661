"""The fibers of ramie in GDB: in a process or in a core file, on Linux x86-64.

    (gdb) source tools/gdb/ramie.py
    (gdb) info fibers            every job that runs or waits; `info fibers all`: idle fibers too
    (gdb) fiber 8193             what is known of a fiber
    (gdb) fiber 8193 bt          its backtrace; `fiber 8193 bt 10`: the innermost ten frames
    (gdb) fiber apply all bt     all of them; `fiber apply 8193 8200-8210 bt`: of some
    (gdb) fiber core FILE        as `generate-core-file`, with the stacks of fibers, which that may leave out

Nothing is taken from descriptions of types, so release builds will do; only the symbol `ramie_debugger_table` must not
have been stripped (`strip = "debuginfo"` leaves it). Nothing in the process is changed, its registers included: while a
fiber's frames are looked at, an unwinder tells GDB that they are the callers of the selected thread's innermost one.
"""

import contextlib
import re
import struct
import time

import gdb
import gdb.unwinder
from gdb.FrameDecorator import FrameDecorator

SYMBOL = "ramie_debugger_table"
VERSION = 1
MAGIC = int.from_bytes(b"ramiegdb", "little")
WORD_BYTES = 8
ADDRESS_MASK = (1 << 64) - 1
# Frames of a fiber, at most: a broken stack may go round in circles.
FRAMES_MAX = 1000

# The fields of `Table` in src/trace/debugger.rs: a word each.
FIELDS = """
    magic version table_bytes unknown
    chunks chunk_count fibers_depot id_mask index_bits
    chunk_base chunk_stride_bytes chunk_slot_count chunk_batch_slots chunk_ready chunk_depot
    fiber_bytes fiber_tag fiber_owner fiber_state fiber_wait_kind fiber_priority fiber_since fiber_wait_object
    fiber_wait_site fiber_site fiber_yielder fiber_coroutine tick_ns
    remote_system remote_index remote_thread_clock remote_current
    locals_tag locals_site named_tag named_location named_name
    wait_kinds wait_kind_count states state_count priorities priority_count
    epoch_ns stack_pointer location_file location_file_length location_line location_column str_pointer str_length
""".split()

# See `FiberState` in src/fiber/publish.rs.
VACANT, IDLE, RUNNING, SUSPENDING, SUSPENDED, READY = range(6)


def read(address, count):
    return bytes(gdb.selected_inferior().read_memory(address & ADDRESS_MASK, count))


def read_word(address):
    return struct.unpack("<Q", read(address, 8))[0]


def read_half(address):
    return struct.unpack("<I", read(address, 4))[0]


def word_at(memory, offset):
    return struct.unpack_from("<Q", memory, offset)[0]


def half_at(memory, offset):
    return struct.unpack_from("<I", memory, offset)[0]


class Table:
    """What the process says of itself."""

    def __init__(self):
        # An expression would have to be one of the language of the selected frame.
        try:
            found = re.search(r" is .*\b0x([0-9a-f]+)\b", gdb.execute("info address " + SYMBOL, to_string=True))
        except gdb.error:
            found = None
        if found is None:
            raise gdb.GdbError(
                "There is no symbol '%s': no program with ramie is loaded, or its symbols were stripped." % SYMBOL
            )
        if not gdb.selected_inferior().threads():
            raise gdb.GdbError("There is no process yet: 'run', 'attach', or load a core file.")
        address = int(found[1], 16)
        header = struct.unpack("<4Q", read(address, 4 * WORD_BYTES))
        if header[0] != MAGIC:
            raise gdb.GdbError("The table of ramie cannot be read: is this the program that made the core file?")
        if header[1] != VERSION:
            raise gdb.GdbError(
                "This script knows version %d of ramie's table, and the program has version %d: use the script "
                "that belongs to its version of ramie." % (VERSION, header[1])
            )
        words = struct.unpack("<%dQ" % len(FIELDS), read(address, len(FIELDS) * WORD_BYTES))
        for name, word in zip(FIELDS, words):
            setattr(self, name, word)
        self.wait_kind_names = self.texts(self.wait_kinds, self.wait_kind_count)
        self.state_names = self.texts(self.states, self.state_count)
        self.priority_names = self.texts(self.priorities, self.priority_count)
        self.places = {}

    def known(self, *fields):
        return all(getattr(self, field) != self.unknown for field in fields)

    def text(self, address, length):
        return read(address, length).decode("utf-8", "replace").rstrip("\0") if 0 < length < 1 << 16 else ""

    def texts(self, address, count):
        return [
            self.text(read_word(address + index * 16), read_word(address + index * 16 + WORD_BYTES))
            for index in range(count)
        ]

    def place(self, address):
        """A `core::panic::Location` in words."""
        if address == 0:
            return None
        if address not in self.places:
            self.places[address] = self.read_place(address)
        return self.places[address]

    def read_place(self, address):
        if not self.known("location_file", "location_file_length"):
            return "the Location at 0x%x" % address
        file = self.text(
            read_word(address + self.location_file), read_word(address + self.location_file_length)
        )
        place = file
        for field in ("location_line", "location_column"):
            if not self.known(field):
                break
            place += ":%d" % read_half(address + getattr(self, field))
        return place

    def job(self, word):
        """Name and place of the job that a fiber's word stands for; `None` for no job."""
        if word & self.locals_tag:
            word = read_word((word & ~self.locals_tag) + self.locals_site)
        if word == 0:
            return None
        if not word & self.named_tag:
            return (None, self.place(word))
        site = word & ~self.named_tag
        name = "?"
        if self.known("str_pointer", "str_length"):
            name = self.text(
                read_word(site + self.named_name + self.str_pointer),
                read_word(site + self.named_name + self.str_length),
            )
        return (name, self.place(read_word(site + self.named_location)))

    def ticks_now(self):
        """What a fiber that suspends now would note, if this is a process on this machine."""
        if not self.known("epoch_ns"):
            return None
        connection = getattr(gdb.selected_inferior(), "connection", None)
        if connection is None or connection.type != "native":
            return None
        return (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self.epoch_ns) // self.tick_ns

    def fibers(self):
        """Every fiber that is not vacant."""
        now = self.ticks_now()
        found = []
        for index in range(1, read_word(self.chunk_count) + 1):
            chunk = read_word(self.chunks + index * WORD_BYTES)
            if chunk == 0 or read_word(chunk + self.chunk_depot) != self.fibers_depot:
                continue
            base = read_word(chunk + self.chunk_base)
            stride = read_word(chunk + self.chunk_stride_bytes)
            slots = read_word(chunk + self.chunk_slot_count)
            batch_slots = read_word(chunk + self.chunk_batch_slots)
            batch_count = -(-slots // batch_slots)
            ready = read(chunk + self.chunk_ready, -(-batch_count // 64) * WORD_BYTES)
            for batch in range(batch_count):
                if not ready[batch // 8] >> batch % 8 & 1:
                    continue
                first = batch * batch_slots
                count = min(batch_slots, slots - first)
                memory = read(base + first * stride, count * stride)
                for slot in range(count):
                    state = memory[slot * stride + self.fiber_state]
                    if state != VACANT:
                        address = base + (first + slot) * stride
                        words = memory[slot * stride : (slot + 1) * stride]
                        found.append(Fiber(self, address, words, now))
        return found


class Fiber:
    def __init__(self, table, address, memory, now):
        self.table = table
        self.address = address
        self.id = half_at(memory, table.fiber_tag) & table.id_mask
        self.state = memory[table.fiber_state]
        self.priority = memory[table.fiber_priority]
        self.job = table.job(word_at(memory, table.fiber_site))
        self.wait_kind = memory[table.fiber_wait_kind]
        self.wait_object = half_at(memory, table.fiber_wait_object)
        self.wait_site = word_at(memory, table.fiber_wait_site)
        self.since = half_at(memory, table.fiber_since)
        self.now = now
        self.yielder = word_at(memory, table.fiber_yielder)
        self.stack_pointer = None
        if table.known("stack_pointer"):
            self.stack_pointer = word_at(memory, table.fiber_coroutine + table.stack_pointer)
        owner = word_at(memory, table.fiber_owner)
        self.system = read_half(owner + table.remote_system)
        self.worker = read_half(owner + table.remote_index)
        # A thread's clock is named by the complement of its number, see clock_getcpuclockid.
        clock = read_half(owner + table.remote_thread_clock)
        self.thread_number = ~(clock >> 3) & 0x1FFFFFFF if clock else None
        # The fiber may have been woken while it was about to suspend: whatever its state, it has the thread.
        self.is_current = read_word(owner + table.remote_current) == address

    def has_job(self):
        return self.job is not None and self.state != IDLE

    def state_name(self):
        if self.is_current:
            return "running"
        names = self.table.state_names
        return names[self.state] if self.state < len(names) else "in state %d" % self.state

    def waits(self):
        return not self.is_current and self.state in (SUSPENDING, SUSPENDED, READY)

    def describe_job(self):
        if not self.has_job():
            return "no job"
        name, place = self.job
        text = "job" if name is None else "job '%s'" % name
        names = self.table.priority_names
        if self.priority < len(names) and names[self.priority] != "Normal":
            text += " (%s)" % names[self.priority]
        return text if place is None else "%s spawned at %s" % (text, place)

    def describe_wait(self):
        names = self.table.wait_kind_names
        text = names[self.wait_kind] if self.wait_kind < len(names) else "wait of kind %d" % self.wait_kind
        return text.replace("#", str(self.wait_object))

    def describe_age(self):
        seconds = self.table.tick_ns / 1e9
        if self.now is not None:
            return "for %.1f s" % ((self.now - self.since & 0xFFFFFFFF) * seconds)
        return "since %.1f s after the start" % (self.since * seconds)

    def thread(self):
        """The thread that runs it, if it is known."""
        for thread in gdb.selected_inferior().threads():
            if self.thread_number is not None and thread.ptid[1] & 0x1FFFFFFF == self.thread_number:
                return thread
        return None

    def __str__(self):
        text = "fiber %d  system %d worker %d  %s" % (self.id, self.system, self.worker, self.state_name())
        if self.is_current:
            thread = self.thread()
            text += " on thread %s" % (thread.num if thread else "(unknown)")
        text += ": " + self.describe_job()
        if self.waits() and self.has_job():
            text += ", %s %s" % ("waits for" if self.state != READY else "waited for", self.describe_wait())
            place = self.table.place(self.wait_site)
            if place:
                text += " at " + place
            text += ", " + self.describe_age()
        return text

    def details(self):
        lines = [str(self)]
        lines.append("  descriptor at 0x%x" % self.address)
        if self.yielder:
            lines.append("  stack ends at 0x%x" % self.yielder)
        if self.stack_pointer and not self.is_current:
            lines.append("  suspended with its stack pointer at 0x%x" % self.stack_pointer)
        return "\n".join(lines)

    def registers(self):
        """Those that it will go on with. See corosensei's x86_64.rs: rip, rbx and rbp lie at the stack pointer."""
        if self.stack_pointer is None:
            raise gdb.GdbError("Where this program keeps stack pointers of fibers is not known.")
        if self.yielder == 0 or self.stack_pointer == 0:
            raise gdb.GdbError("fiber %d has not started, or has ended." % self.id)
        try:
            rip, rbx, rbp = struct.unpack("<3Q", read(self.stack_pointer, 3 * WORD_BYTES))
        except gdb.MemoryError:
            rip = 0
        if rip == 0:
            raise gdb.GdbError(
                "The stack of fiber %d is not in this core file. GDB's own core files may lack stacks: make them "
                "with 'fiber core FILE', or let the kernel write them (ulimit -c)." % self.id
            )
        return {"rip": rip, "rbx": rbx, "rbp": rbp, "rsp": self.stack_pointer + 3 * WORD_BYTES}


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class FiberUnwinder(gdb.unwinder.Unwinder):
    """While it is armed: the caller of the selected thread's innermost frame is where the fiber will go on."""

    def __init__(self):
        super().__init__("ramie-fiber")
        self.innermost = None
        self.registers = None

    def __call__(self, pending):
        if self.registers is None:
            return None
        pc = pending.read_register("rip")
        sp = pending.read_register("rsp")
        if (address_of(pc), address_of(sp)) != self.innermost:
            return None
        # GDB wants callers to lie at higher addresses.
        below = gdb.Value(self.registers["rsp"] - 3 * WORD_BYTES).cast(sp.type)
        info = pending.create_unwind_info(FrameId(below, gdb.Value(self.registers["rip"]).cast(pc.type)))
        for name, value in self.registers.items():
            kind = pending.read_register(name).type
            info.add_saved_register(name, gdb.Value(value).cast(kind))
        return info

    def arm(self, registers):
        frame = gdb.newest_frame()
        self.innermost = innermost_of(frame)
        self.registers = registers
        gdb.invalidate_cached_frames()

    def disarm(self):
        self.registers = None
        gdb.invalidate_cached_frames()


def address_of(value):
    return int(value) & ADDRESS_MASK


def innermost_of(frame):
    return (address_of(frame.read_register("rip")), address_of(frame.read_register("rsp")))


UNWINDER = FiberUnwinder()


@contextlib.contextmanager
def selection_kept():
    """Whatever happens, the thread and frame that are selected now are so afterwards."""
    thread = gdb.selected_thread()
    frame = gdb.selected_frame() if thread else None
    try:
        yield
    finally:
        if thread is not None and thread.is_valid():
            thread.switch()
            if frame is not None and frame.is_valid():
                frame.select()


def fiber_frames(fiber):
    """The frames of a suspended fiber, innermost first; the unwinder is armed meanwhile."""
    registers = fiber.registers()
    if not gdb.selected_thread():
        raise gdb.GdbError("There is no thread to look at fibers with.")
    UNWINDER.arm(registers)
    try:
        frame = gdb.newest_frame()
        while frame is not None and innermost_of(frame) == UNWINDER.innermost:
            frame = older_of(frame)
        for _ in range(FRAMES_MAX):
            if frame is None:
                return
            # The root of the fiber: what would follow is what the worker did when it resumed the fiber last.
            is_switch = frame.type() == gdb.SIGTRAMP_FRAME
            if is_switch and address_of(frame.read_register("rbp")) == fiber.yielder:
                return
            yield frame
            frame = older_of(frame)
    finally:
        UNWINDER.disarm()


def older_of(frame):
    try:
        return frame.older()
    except gdb.error:
        return None


def describe_frame(number, frame):
    """As GDB does it."""
    text = "#%-3d" % number
    if frame.type() == gdb.SIGTRAMP_FRAME:
        return text + "<the frames above are on a large stack>"
    decorator = FrameDecorator(frame)
    if frame.type() != gdb.INLINE_FRAME:
        text += "0x%016x in " % frame.pc()
    text += "%s (%s)" % (name_of(frame), ", ".join(arguments_of(frame, decorator)))
    sal = frame.find_sal()
    if sal.symtab is not None:
        text += " at %s:%d" % (sal.symtab.filename, sal.line)
    else:
        library = gdb.solib_name(frame.pc())
        if library:
            text += " from " + library
    return text


def name_of(frame):
    """The function's name. Line tables have it without its module, which the symbol of a function that is not inlined has."""
    name = frame.name()
    if frame.type() != gdb.INLINE_FRAME and (name is None or "::" not in name):
        symbol = gdb.execute("info symbol 0x%x" % frame.pc(), to_string=True)
        found = re.match(r"(.+?) (?:\+ \d+ )?in section ", symbol)
        name = found[1] if found else name
    # Without the hash of the compiler's older way to make names unique.
    return re.sub(r"::h[0-9a-f]{16}$", "", name or "??")


def arguments_of(frame, decorator):
    try:
        arguments = decorator.frame_args() or []
    except gdb.error:
        return
    for argument in arguments:
        symbol = argument.symbol()
        try:
            value = argument.value()
            value = symbol.value(frame) if value is None and not isinstance(symbol, str) else value
            value = value.format_string(max_elements=20, max_depth=2) if isinstance(value, gdb.Value) else value
        except (gdb.error, ValueError):
            value = "<unknown>"
        yield "%s=%s" % (symbol, value)


def backtrace(fiber, frame_count):
    if fiber.is_current:
        return backtrace_of_thread(fiber, frame_count)
    if not fiber.yielder:
        return print_out("It has not started.")
    with selection_kept(), contextlib.closing(fiber_frames(fiber)) as frames:
        for number, frame in enumerate(frames):
            if number == frame_count:
                print_out("(More stack frames follow...)")
                break
            print_out(describe_frame(number, frame))


def backtrace_of_thread(fiber, frame_count):
    thread = fiber.thread()
    if thread is None:
        raise gdb.GdbError("fiber %d runs, on a thread that is not known." % fiber.id)
    with selection_kept():
        thread.switch()
        gdb.execute("bt" if frame_count is None else "bt %d" % frame_count)


def print_out(text):
    gdb.write(text + "\n")


def find(fibers, id):
    for fiber in fibers:
        if fiber.id == id:
            return fiber
    raise gdb.GdbError("There is no fiber %d; see 'info fibers all'." % id)


def parse_backtrace(words):
    """`bt`, or `bt COUNT`: the count, or `None`."""
    if not words or words[0] not in ("bt", "backtrace", "where") or len(words) > 2:
        raise gdb.GdbError("Only 'bt' and 'bt COUNT' are known here.")
    if len(words) == 1:
        return None
    if not words[1].isdigit():
        raise gdb.GdbError("'%s' is no number of frames." % words[1])
    return int(words[1])


class InfoFibers(gdb.Command):
    """List the jobs of ramie that run or wait, with the place where each was spawned and what it waits for.

    info fibers      fibers that have a job
    info fibers all  idle fibers too, and those that look for a job"""

    def __init__(self):
        super().__init__("info fibers", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        argument = argument.strip()
        if argument not in ("", "all"):
            raise gdb.GdbError("'info fibers', or 'info fibers all'.")
        fibers = Table().fibers()
        listed = [fiber for fiber in fibers if fiber.has_job() or argument == "all"]
        for fiber in listed:
            print_out(str(fiber))
        running = sum(fiber.is_current for fiber in listed)
        others = "" if argument == "all" else ", %d without a job" % (len(fibers) - len(listed))
        print_out("%d fibers, of which %d run%s." % (len(listed), running, others))


class FiberCommand(gdb.Command):
    """Show a fiber of ramie.

    fiber N             what is known of it
    fiber N bt [COUNT]  its backtrace, from where it was suspended; that of its thread if it runs
    fiber apply ...     the same for several, see 'help fiber apply'

    The numbers are those of 'info fibers', and of ramie's dumps."""

    def __init__(self):
        super().__init__("fiber", gdb.COMMAND_STACK, prefix=True)

    def invoke(self, argument, from_tty):
        words = argument.split()
        if not words or not words[0].isdigit():
            raise gdb.GdbError("'fiber N', 'fiber N bt', or 'fiber apply all bt'; the numbers are those of 'info fibers'.")
        count = parse_backtrace(words[1:]) if len(words) > 1 else None
        fiber = find(Table().fibers(), int(words[0]))
        if len(words) > 1:
            backtrace(fiber, count)
        else:
            print_out(fiber.details())


class FiberApply(gdb.Command):
    """Show the backtraces of several fibers.

    fiber apply all bt [COUNT]      of all that have a job
    fiber apply 3 5-8 bt [COUNT]    of these"""

    def __init__(self):
        super().__init__("fiber apply", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = argument.split()
        ranges = []
        while words and (words[0] == "all" or re.fullmatch(r"\d+(-\d+)?", words[0])):
            word = words.pop(0)
            first, _, last = word.partition("-")
            ranges.append((0, 1 << 32) if word == "all" else (int(first), int(last or first)))
        if not ranges:
            raise gdb.GdbError("'fiber apply all bt', or 'fiber apply 3 5-8 bt'.")
        count = parse_backtrace(words)
        for fiber in Table().fibers():
            if not fiber.has_job() or not any(first <= fiber.id <= last for first, last in ranges):
                continue
            print_out("\n" + str(fiber))
            try:
                backtrace(fiber, count)
            except (gdb.error, gdb.GdbError) as error:
                # The others may be well.
                print_out("  no backtrace: %s" % error)


class FiberCore(gdb.Command):
    """Write a core file with the stacks of all fibers.

    fiber core FILE

    Where the guards of stacks are marks in the page table (Linux 6.13 and later), 'generate-core-file' and gcore leave out
    most of the memory that stacks lie in, because they cannot read across the guards. This adds it."""

    PAGE_BYTES = 4096
    # Bytes of a stack that are looked at.
    STACK_BYTES_MAX = 64 << 20

    def __init__(self):
        super().__init__("fiber core", gdb.COMMAND_STACK, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        path = argument.strip()
        if not path:
            raise gdb.GdbError("'fiber core FILE'.")
        fibers = Table().fibers()
        gdb.execute("generate-core-file " + path, to_string=True)
        pages = {}
        for fiber in fibers:
            if not fiber.yielder:
                continue
            # A large stack has an end of its own.
            for start, step in ((fiber.yielder, 1), (fiber.yielder, -1), (fiber.stack_pointer, 1)):
                self.add_pages(start, step, pages)
        with open(path, "r+b") as core:
            written = self.write_pages(core, pages)
        print_out("%s has %d pages of %d fibers' stacks." % (path, written, len(fibers)))

    def add_pages(self, start, step, pages):
        """Reads from an address up or down to the next guard."""
        page = (start or 0) & -self.PAGE_BYTES
        for _ in range(self.STACK_BYTES_MAX // self.PAGE_BYTES if start else 0):
            if page not in pages:
                try:
                    pages[page] = read(page, self.PAGE_BYTES)
                except gdb.MemoryError:
                    return
            page += step * self.PAGE_BYTES

    def write_pages(self, core, pages):
        header = core.read(64)
        table, entry_bytes, entry_count = *struct.unpack_from("<Q", header, 32), *struct.unpack_from("<HH", header, 54)
        segments = []
        for index in range(entry_count):
            core.seek(table + index * entry_bytes)
            kind, _, offset, address, _, file_bytes, _, _ = struct.unpack("<2I6Q", core.read(56))
            if kind == 1:
                segments.append((address, offset, file_bytes))
        written = 0
        for page, contents in pages.items():
            for address, offset, file_bytes in segments:
                if address <= page and page + self.PAGE_BYTES <= address + file_bytes:
                    core.seek(offset + page - address)
                    core.write(contents)
                    written += 1
        return written


gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)
InfoFibers()
FiberCommand()
FiberApply()
FiberCore()
