internal import CSystemd
internal import Glibc

/// Makes changes of files on its own thread: an fsync(2) can take seconds, or hang, and must not block the loop. No
/// other code of the process runs on another thread.
///
/// Changes are made in the order of ``begin(_:)``. The thread is started by the first of them and ends soon after the
/// last, so that an idle process has one thread. It gets copies of plain bytes and makes every object that it uses
/// itself: reference counts are not atomic in this process.
@EventLoopActor
public final class Disk {
    /// Changes that are queued, running or done.
    @EventLoopActor
    public final class Work {
        fileprivate let promise = Promise<FileResult>()
        fileprivate let begin = MonotonicClock.now()

        fileprivate init() {}

        /// The result; nil while the changes are not done.
        public var result: FileResult? { promise.value }

        /// Waits for the result, without a limit.
        public func wait() async -> FileResult { await promise.wait() }

        /// Waits for the result; nil when `duration` is over before.
        public func wait(atMost duration: Duration) async -> FileResult? { await promise.wait(atMost: duration) }
    }

    /// The instance of the process.
    public static let shared = Disk()

    /// Pipes to the thread and back, for the addresses of batches.
    private let queue: Pipe?
    private let done: Pipe?
    private var reader: IOWatch?
    /// Ends an idle thread.
    private var idle: Timer?
    private(set) var isRunning = false
    /// The unfinished work, by the address of its batch.
    private var works: [UInt: Work] = [:]

    /// How long an idle thread waits for more changes: those of one operation follow one another.
    private static let lingering = Duration.milliseconds(50)
    /// How long the process waits for the disk at its end.
    public static let patience = Duration.seconds(5)

    package init() {
        // One malloc arena for both threads: a second one would stay after the thread's end.
        _ = mallopt(M_ARENA_MAX, 1)
        queue = try? Pipe(isReaderBlocking: true)
        done = try? Pipe(isReaderBlocking: false)
        guard let done else { return }
        reader = try? IOWatch(done.reader, .readable) { [weak self] _ in self?.collect() }
        idle = try? Timer { [weak self] in self?.endThread() }
    }

    /// Whether changes are unfinished.
    public var isBusy: Bool { !works.isEmpty }

    /// Whether changes have been unfinished for longer than ``patience``.
    public var isHanging: Bool {
        guard hasOverdueWork else { return false }
        // The loop may have been late, and not the disk.
        collect()
        return hasOverdueWork
    }

    private var hasOverdueWork: Bool {
        let now = MonotonicClock.now()
        return works.values.contains { now.duration(since: $0.begin) > Self.patience }
    }

    /// Queues changes behind all earlier ones.
    public func begin(_ changes: FileChanges) -> Work {
        let work = Work()
        guard !changes.isEmpty else {
            work.promise.fulfil(FileResult())
            return work
        }
        guard reader != nil, startThread() else {
            // Without a thread the changes block the loop.
            work.promise.fulfil(changes.perform())
            return work
        }
        let batch = Batch.make(changes.encoded(), resultByteCount: changes.count + changes.readByteCount)
        guard let queue, queue.send(batch) else {
            // The pipe is full of batches that wait for a disk that hangs.
            Batch.discard(batch)
            var result = FileResult()
            result.error = SystemError(call: "fsync", code: ETIMEDOUT)
            work.promise.fulfil(result)
            return work
        }
        works[batch] = work
        return work
    }

    /// Makes changes synchronously on the loop's thread, after all earlier ones: for the start and the end of the
    /// process. Throws ``SystemError/timedOut`` when the earlier ones take longer than ``patience``, and the first
    /// error.
    public func performNow(_ changes: FileChanges) throws(SystemError) {
        let begin = MonotonicClock.now()
        while isBusy {
            let left = Self.patience - MonotonicClock.now().duration(since: begin)
            guard left > .zero, let done else { throw .timedOut }
            done.waitUntilReadable(atMost: left)
            collect()
        }
        try changes.perform().get()
    }

    private func collect() {
        while let batch = done?.receive() {
            let result = FileResult(decoding: Batch.bytes(batch))
            Batch.discard(batch)
            works.removeValue(forKey: batch)?.promise.fulfil(result)
        }
        if !isBusy { idle?.arm(after: Self.lingering) }
    }

    // MARK: The thread

    private func startThread() -> Bool {
        idle?.cancel()
        guard !isRunning, let queue, let done else { return isRunning }
        isRunning = DiskThread.start(from: queue, to: done)
        return isRunning
    }

    /// Makes the thread end after the queued batches. A new thread that is started meanwhile may read the message
    /// instead.
    private func endThread() {
        guard isRunning, !isBusy, queue?.send(DiskThread.end) ?? false else { return }
        isRunning = false
    }
}

/// A memory block with the encoded changes, and then their result; its address is passed between the threads.
private enum Batch {
    private static let header = MemoryLayout<Int>.size
    /// The largest encoded result, without the one byte for each change and what is read.
    private static let resultBytes = 256

    static func make(_ bytes: [UInt8], resultByteCount: Int) -> UInt {
        let size = header + max(bytes.count, resultByteCount + resultBytes)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        unsafe fill(memory, bytes)
        return UInt(bitPattern: memory)
    }

    static func bytes(_ batch: UInt) -> [UInt8] {
        guard let memory = unsafe UnsafeMutableRawPointer(bitPattern: batch) else { return [] }
        let count = unsafe memory.load(as: Int.self)
        return unsafe Array(UnsafeRawBufferPointer(start: memory + header, count: count))
    }

    static func setResult(_ bytes: [UInt8], of batch: UInt) {
        if let memory = unsafe UnsafeMutableRawPointer(bitPattern: batch) { unsafe fill(memory, bytes) }
    }

    private static func fill(_ memory: UnsafeMutableRawPointer, _ bytes: [UInt8]) {
        unsafe memory.storeBytes(of: bytes.count, as: Int.self)
        unsafe UnsafeMutableRawBufferPointer(start: memory + header, count: bytes.count).copyBytes(from: bytes)
    }

    static func discard(_ batch: UInt) { unsafe UnsafeMutableRawPointer(bitPattern: batch)?.deallocate() }
}

/// A pipe(7) that carries addresses.
private final class Pipe {
    let reader: FileDescriptor
    let writer: FileDescriptor

    init(isReaderBlocking: Bool) throws(SystemError) {
        var ends: [CInt] = [-1, -1]
        try checkErrno("pipe") { unsafe pipe(&ends) }
        reader = FileDescriptor(adopting: ends[0])
        writer = FileDescriptor(adopting: ends[1])
        for end in ends {
            try checkErrno("fcntl") { fcntl(end, F_SETFD, FD_CLOEXEC) }
            let isBlocking = end == ends[0] && isReaderBlocking
            try checkErrno("fcntl") { fcntl(end, F_SETFL, isBlocking ? 0 : O_NONBLOCK) }
        }
    }

    /// False when the pipe is full.
    func send(_ address: UInt) -> Bool { DiskThread.send(address, writer.raw) }

    /// Nil when there is none.
    func receive() -> UInt? { DiskThread.receive(reader.raw) }

    /// Blocks the thread until there is something to read.
    func waitUntilReadable(atMost duration: Duration) {
        var source = pollfd(fd: reader.raw, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&source, 1, CInt(clamping: Int(duration / .milliseconds(1)) + 1))
    }
}

/// The code of the thread.
private enum DiskThread {
    /// Sent instead of an address: the thread ends.
    static let end = UInt(0)
    private static let stackBytes = 256 * 1024

    static func send(_ address: UInt, _ descriptor: CInt) -> Bool {
        unsafe withUnsafeBytes(of: address) { unsafe write(descriptor, $0.baseAddress, $0.count) == $0.count }
    }

    static func receive(_ descriptor: CInt) -> UInt? {
        var address = UInt(0)
        while true {
            let count = unsafe withUnsafeMutableBytes(of: &address) {
                unsafe read(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            return count == MemoryLayout<UInt>.size ? address : nil
        }
    }

    /// Starts the thread; false when there is no memory or no descriptor. It has its own descriptors and ends when the
    /// writing end of its queue is closed.
    static func start(from queue: Pipe, to done: Pipe) -> Bool {
        let reader = fcntl(queue.reader.raw, F_DUPFD_CLOEXEC, 0)
        let writer = fcntl(done.writer.raw, F_DUPFD_CLOEXEC, 0)
        guard reader >= 0, writer >= 0, start(reader, writer) else {
            for descriptor in [reader, writer] where descriptor >= 0 { close(descriptor) }
            return false
        }
        return true
    }

    private static func start(_ queue: CInt, _ done: CInt) -> Bool {
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        unsafe pthread_attr_setstacksize(&attributes, stackBytes)
        unsafe pthread_attr_setdetachstate(&attributes, CInt(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        // Both descriptors, packed into the one argument.
        let bits = UInt(UInt32(bitPattern: queue)) << 32 | UInt(UInt32(bitPattern: done))
        let result = unsafe pthread_create(
            &thread,
            &attributes,
            { argument in
                let bits = UInt(bitPattern: argument)
                DiskThread.run(CInt(truncatingIfNeeded: bits >> 32), CInt(truncatingIfNeeded: bits))
                return nil
            },
            UnsafeMutableRawPointer(bitPattern: bits)
        )
        return result == 0
    }

    private static func run(_ queue: CInt, _ done: CInt) {
        while let batch = receive(queue), batch != end {
            let result = FileChanges(decoding: Batch.bytes(batch)).perform().encoded()
            Batch.setResult(result, of: batch)
            while !send(batch, done) { waitUntilWritable(done) }
        }
        close(queue)
        close(done)
    }

    private static func waitUntilWritable(_ descriptor: CInt) {
        var target = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = unsafe poll(&target, 1, -1)
    }
}
