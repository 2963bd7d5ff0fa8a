internal import HTTP
internal import Systemd

/// One connection: bytes in, requests answered one after another, bytes out.
@EventLoopActor
final class Connection {
    /// What is going on; decides what is waited for and for how long.
    private enum State {
        /// Reading a request, or waiting for one.
        case receiving
        /// A request is being answered; at most `readAheadBytesLimit` of the next ones is read meanwhile.
        case answering
        /// The response is held back for a while: whoever tries tokens has to wait.
        case delayed(Response, Method, HTTPVersion, keepsConnection: Bool)
        /// The body of a response is being made and sent, by a task that is cancelled when nobody wants more of it.
        case streaming(Task<Void, Never>)
        /// Everything that will be sent has been handed to the kernel; reading on until the peer closes.
        case lingering
        case closed
    }

    /// Nil when the connection is closed, however long somebody may still be at work on a response to it.
    private var socket: DescriptorHolder?
    private let peer: Peer
    private unowned let server: Server
    private let share: ConnectionBudget
    private var watch: IOGroup.Watch?
    private var timer: Timer?

    private var state = State.receiving
    private var parser: RequestParser
    private var output = Output()
    /// Who made the piece that is being sent, and waits until it is out.
    private var waitingForRoom: CheckedContinuation<Void, Never>?
    /// No request is read after the one that is being answered.
    private var closesAfterResponse = false
    /// The peer will send nothing more.
    private var inputEnded = false
    private var isProcessing = false
    private var hasAnswered = false
    /// What has been received goes on beyond the request that was answered, and others have their turn before it.
    private var awaitsTurn = false
    /// A task is at work on a request, which keeps the connection's place when the connection has ended.
    private var isWorking = false
    /// Whether the end of the connection is worth waiting for.
    private var lingers = true
    /// It was refused, because there was no place for it.
    private(set) var isTurnedAway = false

    /// What the head that was received last takes.
    private var headBytes = 0
    /// What the head and the body of the request that is being answered take.
    private var requestBytes = 0
    /// The memory that has been taken for what was received.
    private(set) var heldBytes = 0
    /// The bytes of responses that the peer has yet to take, and those before them in the same piece.
    private(set) var outputBytes = 0
    /// What the kernel holds of a stream, and since when the peer has read nothing of it; nil when it has read all.
    private var unread: (byteCount: Int, since: MonotonicClock)?
    /// When the peer was last known to do its part.
    private(set) var waitingSince: Int

    init(
        _ descriptor: consuming FileDescriptor,
        peer: Peer,
        server: Server,
        share: ConnectionBudget
    ) throws(SystemError) {
        let socket = DescriptorHolder(descriptor)
        self.socket = socket
        self.peer = peer
        self.server = server
        self.share = share
        waitingSince = server.moment()
        parser = RequestParser(limits: server.limits.request)
        // Neither calls when the connection has gone. Weak references would make every other one slower.
        watch = try server.group.watch(socket.descriptor, .readable) { [unowned self] in ready($0) }
        timer = try Timer { [unowned self] in timedOut() }
        timer?.arm(after: server.limits.idleTimeout)
    }

    isolated deinit {
        // Before the descriptor goes.
        watch = nil
    }

    /// Answers without reading: there are too many connections.
    func refuseForLackOfRoom(lingers: Bool) {
        isTurnedAway = true
        self.lingers = lingers
        refuse(ParseFailure(status: .tooManyRequests, reason: "too many connections"))
    }

    /// Whether it is the peer, and nobody here, for whom everything waits.
    var isWaiting: Bool {
        switch state {
        case .receiving, .delayed, .lingering: true
        case .answering, .streaming, .closed: false
        }
    }

    /// Ends because others need what it has taken. Who was sending a body is told.
    func giveWay() {
        if case .receiving = state, parser.isInsideBody, output.isEmpty {
            lingers = false
            refuse(
                ParseFailure(status: .requestTimeout, reason: "the request did not arrive before others needed room")
            )
        }
        close()
    }

    /// Ends the connection if nothing is going on; a request that is being received or answered is its last. One that
    /// has arrived or may be on its way is not answered with a reset.
    func drain() {
        if isIdle { receive() }
        switch state {
        case .receiving where isIdle && hasAnswered: close()
        case .receiving where isIdle: timer?.arm(after: server.limits.firstRequestDrainTimeout)
        case .streaming(let task): task.cancel()
        default: break
        }
    }

    // MARK: Events

    private func ready(_ events: IOWatch.Events) {
        guard !events.contains(.failed) else { return close() }
        // With both directions gone nobody hears the answer; the hang-up would be reported over and over.
        if events.contains(.hungUp), isAnswering || awaitsTurn { return close() }
        if events.contains(.readable) || events.contains(.hungUp) { receive() }
        if events.contains(.writable) { flush() }
    }

    /// Reads what there is, and handles it.
    func receive() {
        guard let socket else { return }
        do throws(SystemError) {
            switch try socket.descriptor.receive(into: &server.receiveBuffer) {
            case .wouldBlock: return
            case .endOfStream: return endOfInput()
            case .bytes(let count):
                if case .lingering = state { return }
                let wasInside = parser.isInsideRequest
                parser.receive(server.receiveBuffer[..<count])
                if !wasInside, case .receiving = state, output.isEmpty {
                    waitingSince = server.moment()
                    timer?.arm(after: server.limits.headerTimeout)
                }
            }
        } catch {
            return close()
        }
        process()
        updateEvents()
        hold()
        guard case .receiving = state, output.isEmpty, heldBytes > 0 else { return }
        if !share.makeRoom(for: self) { refuseForLackOfMemory() }
    }

    /// Counts what has been received and is kept.
    private func hold() {
        let bytes = isClosed ? requestBytes : requestBytes + parser.heldByteCount
        share.receivedBytes += bytes - heldBytes
        heldBytes = bytes
    }

    /// Lets go of what has been received: nothing of it will be answered.
    private func dropInput() {
        parser = RequestParser(limits: server.limits.request)
        hold()
    }

    private var isClosed: Bool {
        if case .closed = state { true } else { false }
    }

    /// The peer has shut down its side; it may still be waiting for the response (RFC 9112 §9.6).
    private func endOfInput() {
        inputEnded = true
        switch state {
        case .answering, .delayed: updateEvents()
        // A stream may have no end: to whoever has gone it would be sent in vain, with nothing to show it until the
        // next piece. Nobody can tell that from a reader who has only closed its own side.
        case .streaming: close()
        case .receiving where !output.isEmpty || awaitsTurn: updateEvents()
        default: close()
        }
    }

    private func timedOut() {
        switch state {
        case .receiving where parser.isInsideRequest && output.isEmpty:
            refuse(ParseFailure(status: .requestTimeout, reason: "the request did not arrive in time"))
        case .delayed(let response, let method, let version, let keepsConnection):
            state = .receiving
            send(response, to: method, version: version, keepsConnection: keepsConnection && !inputEnded)
        default: close()
        }
    }

    // MARK: Requests

    /// Handles what has been received, as far as it can be without waiting.
    private func process() {
        guard !isProcessing, !awaitsTurn else { return }
        isProcessing = true
        defer {
            isProcessing = false
            updateEvents()
        }
        do throws(ParseFailure) {
            // The next request waits until the response to the last one is out: what it may cost is bounded.
            while case .receiving = state, output.isEmpty, !closesAfterResponse, !awaitsTurn {
                guard let event = try parser.nextEvent() else {
                    // What is left is the beginning of a request whose rest will not come.
                    if inputEnded { close() }
                    break
                }
                switch event {
                case .head(let head): headReceived(head)
                case .request(let request): answer(request)
                }
            }
        } catch {
            refuse(error)
        }
    }

    private func headReceived(_ head: RequestHead) {
        headBytes = parser.headByteCount
        // Without a body the request itself follows at once.
        guard head.framing != .none else { return }
        if let response = server.handler.refuse(head, peer) {
            // The body is not read.
            dropInput()
            return finish(response, to: head, keepsConnection: false)
        }
        hold()
        guard share.makeRoom(for: self) else { return refuseForLackOfMemory() }
        waitingSince = server.moment()
        timer?.arm(after: server.limits.bodyTimeout)
        if head.expectsContinue { write(ResponseEncoder.continueResponse) }
    }

    private func answer(_ request: Request) {
        state = .answering
        hasAnswered = true
        timer?.cancel()
        if let response = server.handler.respondAtOnce(request, peer) {
            return finish(response, to: request.head, keepsConnection: keepsConnection(after: request))
        }
        requestBytes = headBytes + request.body.capacity
        hold()
        isWorking = true
        EventLoop.begin { [self] in
            let (response, stream) = await server.handler.respond(request, peer)
            endWork()
            guard case .answering = state else { return }
            let keeps = keepsConnection(after: request)
            if let stream {
                begin(stream, with: response, to: request.head, keepsConnection: keeps)
            } else {
                finish(response, to: request.head, keepsConnection: keeps)
            }
        }
    }

    private func keepsConnection(after request: Request) -> Bool {
        // A peer that has shut down its side gets answers to all that it has sent.
        let isLast = inputEnded && parser.bufferedByteCount == 0
        return request.head.keepsConnection && !closesAfterResponse && !isLast && !server.isDraining
    }

    /// Nobody is at work on a request any more, nor on a stream.
    private func endWork() {
        isWorking = false
        requestBytes = 0
        hold()
        if isClosed { share.release(self) }
    }

    /// Sends a response when its time has come.
    private func finish(_ response: Response, to head: RequestHead, keepsConnection: Bool) {
        waitingSince = server.moment()
        let delay = server.handler.delay(response)
        if delay > .zero {
            state = .delayed(response, head.method, head.version, keepsConnection: keepsConnection)
            timer?.arm(after: delay)
            updateEvents()
        } else {
            state = .receiving
            send(response, to: head.method, version: head.version, keepsConnection: keepsConnection)
        }
    }

    /// Goes on with what has been received already, after everybody else.
    private func processNext() {
        guard !awaitsTurn else { return }
        // The end of what the peer sends is one more thing to look at.
        guard parser.bufferedByteCount > 0 else { return process() }
        awaitsTurn = true
        server.awaitTurn(self)
        updateEvents()
    }

    func takeTurn() {
        awaitsTurn = false
        process()
        hold()
    }

    // MARK: Streams

    /// Sends the head of a streamed response, and starts the task that makes its body.
    private func begin(_ stream: BodyStream, with response: Response, to head: RequestHead, keepsConnection: Bool) {
        let isChunked = head.version == .http11
        let keeps = keepsConnection && isChunked
        closesAfterResponse = closesAfterResponse || !keeps
        let bytes = ResponseEncoder.encodeStreamHead(
            status: response.status,
            fields: response.fields,
            keepsConnection: keeps,
            version: head.version,
            date: server.dateField
        )
        guard head.method != .head else {
            state = .receiving
            return write(bytes)
        }
        guard !inputEnded, !server.isDraining else {
            state = .receiving
            closesAfterResponse = true
            return write(bytes + (isChunked ? ResponseEncoder.lastChunk : []))
        }
        isWorking = true
        unread = nil
        let task = EventLoop.start { [self] in
            defer { endWork() }
            do throws(BodyStreamClosed) {
                try await stream.produce(StreamWriter(connection: self, isChunked: isChunked))
                endStream(with: isChunked ? ResponseEncoder.lastChunk : [])
            } catch {
                // The reader has gone, or there is no more of the body to be had: by the missing last chunk it is known
                // to be incomplete (RFC 9112 §8).
                closesAfterResponse = true
                endStream(with: [])
            }
        }
        // Before the task has begun: it is queued.
        state = .streaming(task)
        write(bytes)
        updateEvents()
    }

    /// Sends a piece of a stream and waits until it is out.
    fileprivate func writePiece(_ bytes: [UInt8]) async throws(BodyStreamClosed) {
        guard case .streaming = state else { throw BodyStreamClosed() }
        guard !readsNothing() else {
            close()
            throw BodyStreamClosed()
        }
        write(bytes)
        if !output.isEmpty { await withCheckedContinuation { waitingForRoom = $0 } }
        guard case .streaming = state else { throw BodyStreamClosed() }
        noteUnread()
    }

    /// Whether the peer of a stream has read nothing for ``ServerLimits/writeTimeout``. The kernel takes small pieces
    /// for an hour before there is no more room for them.
    private func readsNothing() -> Bool {
        guard let unread else { return false }
        // Since the last piece this can only have become less.
        if socket?.descriptor.unreadByteCount ?? 0 < unread.byteCount { self.unread = nil }
        return self.unread.map { MonotonicClock.now().duration(since: $0.since) >= server.limits.writeTimeout } ?? false
    }

    private func noteUnread() {
        let byteCount = socket?.descriptor.unreadByteCount ?? 0
        unread = byteCount > 0 ? (byteCount, unread?.since ?? MonotonicClock.now()) : nil
    }

    private func endStream(with bytes: [UInt8]) {
        guard case .streaming = state else { return }
        state = .receiving
        if server.isDraining { closesAfterResponse = true }
        write(bytes)
    }

    private var isIdle: Bool {
        if case .receiving = state { return output.isEmpty && !parser.isInsideRequest }
        return false
    }

    private var isAnswering: Bool {
        switch state {
        case .answering, .delayed, .streaming: true
        case .receiving, .lingering, .closed: false
        }
    }

    private func refuseForLackOfMemory() {
        refuse(ParseFailure(status: .tooManyRequests, reason: "too many requests are on their way"))
    }

    private func refuse(_ failure: ParseFailure) {
        let response = server.handler.respondToFailure(failure, peer)
        send(response, to: nil, version: .http11, keepsConnection: false)
    }

    // MARK: Output

    private func send(_ response: Response, to method: Method?, version: HTTPVersion, keepsConnection: Bool) {
        closesAfterResponse = closesAfterResponse || !keepsConnection
        let (head, body) = ResponseEncoder.encode(
            response,
            to: method,
            keepsConnection: keepsConnection,
            version: version,
            date: server.dateField
        )
        output.append(head)
        output.append(body)
        flush()
    }

    private func write(_ bytes: [UInt8]) {
        output.append(bytes)
        flush()
    }

    private func flush() {
        guard let socket else { return }
        do throws(SystemError) {
            while let (piece, offset, isLast) = output.next {
                let count = try socket.descriptor.send(piece, from: offset, isLast: isLast)
                guard count > 0 else {
                    timer?.arm(after: server.limits.writeTimeout)
                    // Where there is no room, the timer tells.
                    unread = nil
                    updateEvents()
                    return countOutput()
                }
                output.advance(by: count)
                waitingSince = server.moment()
            }
        } catch {
            return close()
        }
        countOutput()
        outputDrained()
    }

    /// Counts what waits for the peer to take it.
    private func countOutput() {
        let more = output.heldByteCount - outputBytes
        outputBytes = output.heldByteCount
        if more != 0 { server.countWaiting(more, of: self) }
    }

    private func outputDrained() {
        if case .streaming = state {
            timer?.cancel()
            // There is room all the time: as long as that is waited for the loop does not come to rest.
            updateEvents()
            waitingForRoom?.resume()
            waitingForRoom = nil
        }
        guard case .receiving = state else { return }
        if closesAfterResponse { return linger() }
        if server.isDraining, !parser.isInsideRequest { return close() }
        // A 100 Continue went out in the middle of a request; anything else ended one.
        timer?.arm(
            after: parser.isInsideBody
                ? server.limits.bodyTimeout
                : parser.isInsideRequest ? server.limits.headerTimeout : server.limits.idleTimeout
        )
        processNext()
    }

    // MARK: The end

    /// Says that nothing follows and reads on for a moment: closing with unread bytes would make the kernel send a
    /// reset, which can overtake the response.
    private func linger() {
        guard !inputEnded, lingers else { return close() }
        state = .lingering
        dropInput()
        socket?.descriptor.shutdownSending()
        timer?.arm(after: server.limits.lingerTimeout)
        updateEvents()
    }

    private func close() {
        if case .closed = state { return }
        if case .streaming(let task) = state { task.cancel() }
        state = .closed
        watch = nil
        socket = nil
        timer = nil
        waitingForRoom?.resume()
        waitingForRoom = nil
        output = Output()
        countOutput()
        dropInput()
        share.remove(self)
        if !isWorking { share.release(self) }
        server.removed(self)
    }

    private func updateEvents() {
        var events: IOWatch.Events = []
        if !output.isEmpty { events.insert(.writable) }
        switch state {
        case .receiving where !awaitsTurn && output.isEmpty, .lingering:
            if !inputEnded { events.insert(.readable) }
        case .receiving, .answering, .delayed, .streaming:
            let hasRoom = parser.bufferedByteCount < server.limits.readAheadBytesLimit && share.hasRoom
            if hasRoom, !inputEnded { events.insert(.readable) }
        case .closed: return
        }
        watch?.events = events
    }
}

/// The connection as the maker of a streamed body sees it.
private struct StreamWriter: BodyWriter {
    let connection: Connection
    let isChunked: Bool

    func write(_ bytes: [UInt8]) async throws(BodyStreamClosed) {
        guard !bytes.isEmpty else { return }
        try await connection.writePiece(isChunked ? ResponseEncoder.chunk(bytes) : bytes)
    }
}
