internal import CSystemd
internal import Glibc

/// Makes changes of files on a thread of its own: a disk can take seconds for an fsync(2), or hang, and the loop goes
/// on meanwhile. Nothing else of the process runs on another thread.
///
/// The changes are made in the order in which they were begun. The thread begins with the first of them and ends soon
/// after the last, so that a process that changes nothing has one thread. It is given copies of plain bytes and makes
/// every object that it uses itself: reference counts are not atomic in this process.
@EventLoopActor
public final class Disk {
    /// Changes that are under way or done.
    @EventLoopActor
    public final class Work {
        fileprivate let promise = Promise<FileResult>()
        fileprivate let begin = MonotonicClock.now()

        fileprivate init() {}

        /// What has become of them; nil while they are under way.
        public var result: FileResult? { promise.value }

        /// Waits until they are made, however long that takes.
        public func wait() async -> FileResult { await promise.wait() }

        /// Waits until they are made; nil when that takes longer.
        public func wait(atMost duration: Duration) async -> FileResult? { await promise.wait(atMost: duration) }
    }

    /// The process's.
    public static let shared = Disk()

    /// To the thread, and back: addresses of batches.
    private let queue: Pipe?
    private let done: Pipe?
    private var reader: IOWatch?
    /// Lets the thread end.
    private var idle: Timer?
    private(set) var isRunning = false
    /// What is under way, by the address of its batch.
    private var works: [UInt: Work] = [:]

    /// How long the thread stays for the next changes: those of one operation come one after another.
    private static let lingering = Duration.milliseconds(50)
    /// How long the end of the process waits for the disk.
    public static let patience = Duration.seconds(5)

    init() {
        // One heap for both threads: another one would stay when the thread ends.
        _ = mallopt(M_ARENA_MAX, 1)
        queue = try? Pipe(isReaderBlocking: true)
        done = try? Pipe(isReaderBlocking: false)
        guard let done else { return }
        reader = try? IOWatch(done.reader, .readable) { [weak self] _ in self?.collect() }
        idle = try? Timer { [weak self] in self?.endThread() }
    }

    /// Whether changes are under way.
    public var isBusy: Bool { !works.isEmpty }

    /// Whether changes are under way for longer than a disk that works takes.
    public var isHanging: Bool {
        let now = MonotonicClock.now()
        return works.values.contains { now.duration(since: $0.begin) > Self.patience }
    }

    /// Makes changes, and waits until they are made.
    public func perform(_ changes: FileChanges) async throws(SystemError) -> FileResult {
        let result = await begin(changes).wait()
        try result.get()
        return result
    }

    /// Has changes made after all that were begun before.
    public func begin(_ changes: FileChanges) -> Work {
        let work = Work()
        guard !changes.isEmpty else {
            work.promise.fulfil(FileResult())
            return work
        }
        guard reader != nil, startThread() else {
            // Without a thread the loop waits.
            work.promise.fulfil(changes.perform())
            return work
        }
        let batch = Batch.make(changes.encoded(), changesCount: changes.count)
        guard let queue, queue.send(batch) else {
            // As many as the pipe holds are waiting for a disk that hangs.
            Batch.discard(batch)
            var result = FileResult()
            result.error = SystemError(call: "fsync", code: ETIMEDOUT)
            work.promise.fulfil(result)
            return work
        }
        works[batch] = work
        return work
    }

    /// Makes changes on the loop's thread, after all that were begun before: for a process that begins or ends. Throws
    /// ``SystemError/timedOut`` when those take longer than ``patience``.
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

    /// Tells the thread to end after what is queued. One that is started meanwhile may end in its place.
    private func endThread() {
        guard isRunning, !isBusy, queue?.send(DiskThread.end) ?? false else { return }
        isRunning = false
    }
}

/// The bytes of changes, and then of their result, in memory that goes from one thread to the other with its address.
private enum Batch {
    private static let header = MemoryLayout<Int>.size
    /// What a result takes at most beside a byte for each change.
    private static let resultBytes = 256

    static func make(_ bytes: [UInt8], changesCount: Int) -> UInt {
        let size = header + max(bytes.count, changesCount + resultBytes)
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

/// What runs on the thread.
private enum DiskThread {
    /// In place of an address: the thread ends.
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

    /// False when there is no memory for a thread, or no descriptor. The thread has descriptors of its own and ends
    /// when the other end of its queue is closed.
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
        // Both descriptors in the bits of the one argument.
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
