/// Turns the bytes of a connection into requests, without doing any I/O. RFC 9112.
///
/// Feed it with `receive` and ask for events until there is none. How the bytes are cut into pieces makes no difference
/// to events or failures. Whatever is ambiguous is refused. After a failure the parser stays failed, since the
/// beginning of the next request is unknown, and the connection has to be closed after the response.
///
/// After a request whose `keepsConnection` is false the caller must not ask for more: RFC 9112 §9.6.
public struct RequestParser: Sendable {
    /// What has been received of a request.
    public enum Event: Hashable, Sendable {
        /// The header section is complete; the body, if any, is still to come.
        case head(RequestHead)
        /// The body is complete. Follows the head of the same request at once where there is no body.
        case request(Request)
    }

    private enum State: Sendable {
        case betweenRequests(skippedLines: Int)
        case readingMethod
        case readingRequestLine(methodLength: Int)
        case readingFields(RequestLine)
        case readingBody(RequestHead, remaining: Int)
        case readingChunkSize(RequestHead)
        case readingChunkData(RequestHead, remaining: Int)
        case readingChunkEnd(RequestHead)
        case readingTrailers(RequestHead)
        case failed(ParseFailure)
    }

    /// The part of the request that a line limit is for.
    private enum LimitedPart {
        case target
        case headerSection
        case chunkLine
    }

    /// The counts of a head towards the limits.
    private struct HeadCounts: Sendable {
        /// The consumed bytes that count towards `headerBytesLimit`.
        var headerBytes = 0
        /// The length of the target, with the few bytes around it.
        var targetBytes = 0
        /// The field lines that count towards `headerFieldsLimit`.
        var fields = 0
    }

    /// The longest head that is cached, in bytes: it bounds the memory of an idle connection.
    static let keptHeadBytesLimit = 1024

    /// RFC 9112 §2.2: a robust server ignores at least one empty line before a request.
    private static let skippedLinesLimit = 2

    private static let lineEndLength = "\r\n".utf8.count
    private let limits: Limits
    private var state = State.betweenRequests(skippedLines: 0)
    private(set) var buffer = ReceiveBuffer()
    /// The number of bytes of the current line, from the buffer's index 0, that have been examined.
    private var scanned = 0
    private var counts = HeadCounts()
    private var fields = Fields()
    /// The cache of the last head: clients usually repeat the same bytes.
    private var lastHead: (bytes: ArraySlice<UInt8>, head: RequestHead, counts: HeadCounts)?
    private var body: [UInt8] = []
    /// Whether the last head is cached: for tests.
    var keepsLastHead: Bool { lastHead != nil }
    /// How many times a byte was looked at in search of a line end: shows that the cost is linear.
    private(set) var examinedByteCount = 0

    public init(limits: Limits = Limits()) {
        self.limits = limits
    }

    /// Takes bytes from the connection. Bytes that arrive after a failure are dropped.
    public mutating func receive(_ bytes: ArraySlice<UInt8>) {
        if case .failed = state { return }
        buffer.append(bytes)
    }

    /// Takes bytes from the connection. Bytes that arrive after a failure are dropped.
    public mutating func receive(_ bytes: [UInt8]) { receive(bytes[...]) }

    /// Bytes held for requests that are not complete: those not parsed yet and the body received so far.
    public var bufferedByteCount: Int {
        buffer.count + body.count
    }

    /// The approximate memory of the received part of a request, with the announced size of its body.
    public var heldByteCount: Int {
        switch state {
        case .betweenRequests, .readingMethod, .readingRequestLine, .failed: buffer.capacity
        case .readingFields: buffer.capacity + headByteCount
        case .readingBody(_, let remaining), .readingChunkData(_, let remaining):
            buffer.capacity + headByteCount + max(body.capacity, body.count + remaining)
        case .readingChunkSize, .readingChunkEnd, .readingTrailers: buffer.capacity + headByteCount + body.capacity
        }
    }

    /// The same for the head that was reported last, which is held until its request is answered.
    public var headByteCount: Int {
        counts.headerBytes + counts.targetBytes * Self.targetOverhead + counts.fields * Self.fieldOverhead
    }

    /// The memory per byte of a target at most: every second byte can begin a parameter or a segment.
    private static let targetOverhead = 24
    /// The memory per field besides its text.
    private static let fieldOverhead = 128

    /// Whether a head has been reported whose body is not complete.
    public var isInsideBody: Bool {
        switch state {
        case .readingBody, .readingChunkSize, .readingChunkData, .readingChunkEnd, .readingTrailers: true
        case .betweenRequests, .readingMethod, .readingRequestLine, .readingFields, .failed: false
        }
    }

    /// Whether part of a request has been received and not been reported by `Event.request`.
    ///
    /// Empty lines before a request are not part of it: an idle connection may be closed after them.
    public var isInsideRequest: Bool {
        switch state {
        case .betweenRequests(let skippedLines):
            let skippable = 2 * (Self.skippedLinesLimit - skippedLines)
            return buffer.prefix(min(buffer.count, skippable + 1)).enumerated().contains { offset, byte in
                offset == skippable || byte != (offset.isMultiple(of: 2) ? .carriageReturn : .lineFeed)
            }
        case .failed:
            return false
        case .readingMethod, .readingRequestLine, .readingFields, .readingBody, .readingChunkSize, .readingChunkData,
            .readingChunkEnd, .readingTrailers:
            return true
        }
    }

    /// The next event, or nil when it needs bytes that have not been received.
    public mutating func nextEvent() throws(ParseFailure) -> Event? {
        do throws(ParseFailure) {
            while true {
                switch try step() {
                case .event(let event): return event
                case .needsBytes: return nil
                case .again: continue
                }
            }
        } catch {
            state = .failed(error)
            buffer.removeAll()
            body = []
            fields = Fields()
            throw error
        }
    }

    private enum Step {
        case event(Event)
        case needsBytes
        /// The state has changed; there may be more to parse.
        case again
    }

    private mutating func step() throws(ParseFailure) -> Step {
        switch state {
        case .betweenRequests(let skippedLines):
            if let step = takeLastHead() { return step }
            return try skipEmptyLine(skippedLines: skippedLines)
        case .readingMethod:
            return try readMethod()
        case .readingRequestLine(let methodLength):
            return try readRequestLine(methodLength: methodLength)
        case .readingFields(let requestLine):
            return try readField(requestLine)
        case .readingBody(let head, let remaining):
            return readBody(head, remaining: remaining)
        case .readingChunkSize(let head):
            return try readChunkSize(head)
        case .readingChunkData(let head, let remaining):
            return readChunkData(head, remaining: remaining)
        case .readingChunkEnd(let head):
            return try readChunkEnd(head)
        case .readingTrailers(let head):
            return try readTrailer(head)
        case .failed(let failure):
            throw failure
        }
    }

    /// The event of the cached head, if the same bytes were received again.
    private mutating func takeLastHead() -> Step? {
        guard let (bytes, head, counts) = lastHead, buffer.starts(with: bytes) else { return nil }
        examinedByteCount += bytes.count
        buffer.consume(bytes.count)
        self.counts = counts
        return begin(head)
    }

    private mutating func skipEmptyLine(skippedLines: Int) throws(ParseFailure) -> Step {
        guard !buffer.isEmpty else { return .needsBytes }
        guard buffer[0] == .carriageReturn || buffer[0] == .lineFeed else {
            state = .readingMethod
            return .again
        }
        guard skippedLines < Self.skippedLinesLimit else {
            throw .badRequest("there are too many empty lines before the request")
        }
        guard try nextLine(bytesLimit: 0, of: .headerSection) != nil else { return .needsBytes }
        consumeLine()
        state = .betweenRequests(skippedLines: skippedLines + 1)
        return .again
    }

    /// Checks the method byte by byte, so that another protocol is refused at its first byte.
    private mutating func readMethod() throws(ParseFailure) -> Step {
        while scanned < buffer.count {
            let byte = buffer[scanned]
            examinedByteCount += 1
            if byte == .space, scanned > 0 {
                state = .readingRequestLine(methodLength: scanned)
                return .again
            }
            guard byte.isTokenCharacter else { throw .badRequest("the request does not begin with a method") }
            guard scanned < limits.methodBytesLimit else {
                throw ParseFailure(
                    status: .notImplemented,
                    reason: "the method is longer than \(limits.methodBytesLimit) bytes",
                )
            }
            scanned += 1
        }
        return .needsBytes
    }

    private mutating func readRequestLine(methodLength: Int) throws(ParseFailure) -> Step {
        // Method and version have known lengths, so what makes a line too long is its target.
        let lineLimit = methodLength + " ".utf8.count + limits.requestTargetBytesLimit + " HTTP/1.1".utf8.count
        let headerLimit = limits.headerBytesLimit - Self.lineEndLength
        let line = try nextLine(
            bytesLimit: min(lineLimit, headerLimit),
            of: headerLimit < lineLimit ? .headerSection : .target,
        )
        guard let line else { return .needsBytes }
        let requestLine = try RequestLine(parsing: line)
        counts.headerBytes = line.count + Self.lineEndLength
        counts.targetBytes = line.count - methodLength
        consumeLine()
        counts.fields = 0
        state = .readingFields(requestLine)
        return .again
    }

    private mutating func readField(_ requestLine: RequestLine) throws(ParseFailure) -> Step {
        guard let line = try nextSectionLine() else { return .needsBytes }
        guard !line.isEmpty else {
            let head = try RequestHead(
                method: requestLine.method,
                target: requestLine.target,
                version: requestLine.version,
                fields: fields,
                limits: limits,
            )
            keep(head)
            consumeLine()
            fields = Fields()
            return begin(head)
        }
        let field = try FieldLine(parsing: line)
        consumeLine()
        fields.append(field.name, field.value)
        return .again
    }

    /// Caches a head whose last, empty line is about to be consumed.
    private mutating func keep(_ head: RequestHead) {
        lastHead = nil
        guard counts.headerBytes <= Self.keptHeadBytesLimit,
            let lines = buffer.lastConsumed(counts.headerBytes - Self.lineEndLength)
        else { return }
        lastHead = (lines + buffer.prefix(Self.lineEndLength), head, counts)
    }

    private mutating func begin(_ head: RequestHead) -> Step {
        state =
            switch head.framing {
            case .none: .readingBody(head, remaining: 0)
            case .length(let length): .readingBody(head, remaining: length)
            case .chunked: .readingChunkSize(head)
            }
        return .event(.head(head))
    }

    private mutating func readBody(_ head: RequestHead, remaining: Int) -> Step {
        let left = takeBody(remaining)
        guard left == 0 else {
            state = .readingBody(head, remaining: left)
            return .needsBytes
        }
        return complete(head)
    }

    private mutating func readChunkSize(_ head: RequestHead) throws(ParseFailure) -> Step {
        let line = try nextLine(bytesLimit: limits.chunkLineBytesLimit, of: .chunkLine)
        guard let line else { return .needsBytes }
        let size = try ChunkSize.parse(line)
        // Extensions count as header bytes: otherwise tiny chunks with long ones would be an unlimited upload.
        if let extensionStart = line.firstIndex(of: UInt8(ascii: ";")) {
            counts.headerBytes += line.endIndex - extensionStart
            guard counts.headerBytes <= limits.headerBytesLimit else { throw tooLarge(.headerSection) }
        }
        guard size <= UInt64(limits.bodyBytesLimit - body.count) else {
            throw ParseFailure(
                status: .contentTooLarge,
                reason: "the body is larger than \(limits.bodyBytesLimit) bytes",
            )
        }
        consumeLine()
        state = size == 0 ? .readingTrailers(head) : .readingChunkData(head, remaining: Int(size))
        return .again
    }

    private mutating func readChunkData(_ head: RequestHead, remaining: Int) -> Step {
        let left = takeBody(remaining)
        guard left == 0 else {
            state = .readingChunkData(head, remaining: left)
            return .needsBytes
        }
        state = .readingChunkEnd(head)
        return .again
    }

    private mutating func readChunkEnd(_ head: RequestHead) throws(ParseFailure) -> Step {
        guard !buffer.isEmpty else { return .needsBytes }
        guard buffer[0] == .carriageReturn else { throw .badRequest("a chunk is longer than its size") }
        guard buffer.count > 1 else { return .needsBytes }
        guard buffer[1] == .lineFeed else { throw .badRequest("a chunk is longer than its size") }
        buffer.consume(Self.lineEndLength)
        state = .readingChunkSize(head)
        return .again
    }

    private mutating func readTrailer(_ head: RequestHead) throws(ParseFailure) -> Step {
        guard let line = try nextSectionLine() else { return .needsBytes }
        guard !line.isEmpty else {
            consumeLine()
            return complete(head)
        }
        guard try !FieldLine(parsing: line).isForbiddenInTrailers else {
            throw .badRequest("a field in the trailer section must not be there")
        }
        consumeLine()
        return .again
    }

    private mutating func complete(_ head: RequestHead) -> Step {
        let request = Request(head: head, body: body)
        body = []
        state = .betweenRequests(skippedLines: 0)
        return .event(.request(request))
    }

    /// Moves what has arrived of the next `remaining` bytes to the body and returns how many are still to come.
    private mutating func takeBody(_ remaining: Int) -> Int {
        let count = min(remaining, buffer.count)
        guard count > 0 else { return remaining }
        // Once, and no more than what is announced: memory that nothing is written to costs nothing.
        if body.isEmpty { body.reserveCapacity(remaining) }
        body.append(contentsOf: buffer.prefix(count))
        buffer.consume(count)
        return remaining - count
    }

    /// The next line of a header or trailer section, counted towards the limits of both.
    private mutating func nextSectionLine() throws(ParseFailure) -> ArraySlice<UInt8>? {
        let room = limits.headerBytesLimit - counts.headerBytes - Self.lineEndLength
        let line = try nextLine(bytesLimit: room, of: .headerSection)
        guard let line else { return nil }
        counts.headerBytes += line.count + Self.lineEndLength
        guard !line.isEmpty else { return line }
        counts.fields += 1
        guard counts.fields <= limits.headerFieldsLimit else {
            throw ParseFailure(
                status: .requestHeaderFieldsTooLarge,
                reason: "there are more than \(limits.headerFieldsLimit) field lines",
            )
        }
        return line
    }

    /// The line at the start of the buffer, without its line end; nil when it is not complete.
    ///
    /// `bytesLimit` is the limit of a line without its line end. Bytes are judged in order, each once, so that a
    /// failure depends on what was sent and not on how it was cut. RFC 9112 §2.2: a bare CR is invalid; a bare LF
    /// could be taken for a line end, which is how requests are smuggled.
    private mutating func nextLine(
        bytesLimit: Int,
        of part: LimitedPart
    ) throws(ParseFailure) -> ArraySlice<UInt8>? {
        while scanned < buffer.count {
            examinedByteCount += 1
            switch buffer[scanned] {
            case .carriageReturn:
                guard scanned <= bytesLimit else { throw tooLarge(part) }
                guard scanned + 1 < buffer.count else { return nil }
                guard buffer[scanned + 1] == .lineFeed else { throw .badRequest("there is a CR without an LF") }
                return buffer.prefix(scanned)
            case .lineFeed:
                throw .badRequest("there is an LF without a CR")
            case let byte where byte.isControl && byte != .horizontalTab:
                throw .badRequest("there is a control character in the header section")
            default:
                guard scanned < bytesLimit else { throw tooLarge(part) }
                scanned += 1
            }
        }
        return nil
    }

    /// Drops the line that `nextLine` found, which ends where it stopped looking.
    private mutating func consumeLine() {
        buffer.consume(scanned + Self.lineEndLength)
        scanned = 0
    }

    private func tooLarge(_ part: LimitedPart) -> ParseFailure {
        switch part {
        case .target:
            ParseFailure(
                status: .uriTooLong,
                reason: "the request target is longer than \(limits.requestTargetBytesLimit) bytes",
            )
        case .headerSection:
            ParseFailure(
                status: .requestHeaderFieldsTooLarge,
                reason: "the header section is larger than \(limits.headerBytesLimit) bytes",
            )
        case .chunkLine:
            .badRequest("a chunk-size line is longer than \(limits.chunkLineBytesLimit) bytes")
        }
    }
}
