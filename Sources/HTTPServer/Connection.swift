internal import HTTP
internal import Systemd

/// One connection: bytes in, requests answered one after another, bytes out.
@EventLoopActor
final class Connection {
    /// The state, which determines the events and the time-out of the connection.
    private enum State {
        /// Reading a request, or waiting for one.
        case receiving
        /// A request is being answered; at most `readAheadBytesLimit` bytes of the next ones are read meanwhile.
        case answering
        /// A request waits before it is handled, as the handler asks for: that slows down guessing of tokens.
        case held(RequestParser.Event)
        /// The body of a response is being produced and sent, by a task that is cancelled when the connection ends.
        case streaming(Task<Void, Never>)
        /// The whole output has been handed to the kernel; input is read and dropped until the peer closes.
        case lingering
        case closed
    }

    /// Nil when the connection is closed; a task may still work on a response to it.
    private var socket: DescriptorHolder?
    let client: Client
    private unowned let server: Server
    /// The budget that the connection is part of.
    var share: ConnectionBudget
    private var watch: IOGroup.Watch?
    private var timer: Timer?

    private var state = State.receiving
    private var parser: RequestParser
    private var output = Output()
    /// The producer of the current piece of a stream, which waits until it is sent.
    private var waitingForRoom: CheckedContinuation<Void, Never>?
    /// No request is read after the one that is being answered.
    private var closesAfterResponse = false
    /// The peer will send nothing more.
    private var inputEnded = false
    private var isProcessing = false
    private var hasAnswered = false
    /// More requests have been received than the answered one, and other connections are served before them.
    private var awaitsTurn = false
    /// A task works on a request: the connection occupies its slot until the task ends, even when it is closed.
    private var isWorking = false
    /// Set while the body of an admitted request is read.
    private var admitted: (any AnyObject & Sendable)?
    /// Whether the connection lingers before it is closed.
    private var lingers = true
    /// Whether the connection was refused, because all slots were taken.
    private(set) var isTurnedAway = false

    /// The memory of the head that was received last.
    private var headBytes = 0
    /// The memory of the request that is being answered.
    private var requestBytes = 0
    /// The memory of received data that is counted in the budget.
    private(set) var heldBytes = 0
    /// The size of the output that is not sent completely: the unsent bytes, and the sent bytes of the same piece.
    private(set) var outputBytes = 0
    /// The bytes of a stream that the peer has not read, and since when it has read none of them; nil when it has read
    /// all.
    private var unread: (byteCount: Int, since: MonotonicClock)?
    /// The value of the server's logical clock when the connection began to wait for its peer.
    private(set) var waitingSince: Int {
        didSet { share.beginsToWait(self) }
    }
    /// See ``Peer/accountID``.
    var accountID: UInt32? { client.peer.accountID }
    /// The neighbours in the list of the budget.
    var older: Connection?
    var newer: Connection?

    init(
        _ descriptor: consuming FileDescriptor,
        peer: Peer,
        server: Server,
        share: ConnectionBudget
    ) throws(SystemError) {
        let socket = DescriptorHolder(descriptor)
        self.socket = socket
        client = Client(peer)
        client.socket = socket
        self.server = server
        self.share = share
        waitingSince = server.moment()
        parser = RequestParser(limits: server.limits.request)
        // `unowned`: neither calls after the connection is deallocated, and weak references would slow down all others.
        watch = try server.group.watch(socket.descriptor, .readable) { [unowned self] in ready($0) }
        timer = try Timer { [unowned self] in timedOut() }
        timer?.arm(after: server.limits.idleTimeout)
    }

    isolated deinit {
        // Before the descriptor is closed.
        watch = nil
    }

    /// Answers 429 without reading: there are too many connections.
    func refuseForLackOfRoom(lingers: Bool) {
        isTurnedAway = true
        self.lingers = lingers
        refuse(ParseFailure(status: .tooManyRequests, reason: "too many connections"))
    }

    /// Whether the connection waits for its peer, and not for the agent.
    var isWaiting: Bool {
        switch state {
        case .receiving, .held, .lingering: true
        case .answering, .streaming, .closed: false
        }
    }

    /// Closes the connection to free its slot or memory for another one. A peer that was sending a body gets a 408.
    func giveWay() {
        if case .receiving = state, parser.isInsideBody, output.isEmpty {
            lingers = false
            refuse(
                ParseFailure(status: .requestTimeout, reason: "the request did not arrive before others needed room")
            )
        }
        close()
    }

    /// Closes the connection if it is idle; else the current request is its last. A request that has arrived or may be
    /// on its way is not answered with a reset.
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
        // With both directions closed the response cannot be delivered, and EPOLLHUP would be reported again and again.
        if events.contains(.hungUp), isAnswering || awaitsTurn { return close() }
        if events.contains(.readable) || events.contains(.hungUp) { receive() }
        if events.contains(.writable) { flush() }
    }

    /// Reads and handles the received bytes.
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

    /// Updates the budget with the memory of received data.
    private func hold() {
        let bytes = isClosed ? requestBytes : requestBytes + parser.heldByteCount
        share.receivedBytes += bytes - heldBytes
        heldBytes = bytes
    }

    /// Drops all received data: it will not be answered.
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
        case .answering, .held: updateEvents()
        // A stream may be endless: without this, a closed connection would be noticed only at the next piece. A peer
        // that has only shut down its sending side looks the same.
        case .streaming: close()
        case .receiving where !output.isEmpty || awaitsTurn: updateEvents()
        default: close()
        }
    }

    private func timedOut() {
        switch state {
        case .receiving where parser.isInsideRequest && output.isEmpty:
            refuse(ParseFailure(status: .requestTimeout, reason: "the request did not arrive in time"))
        case .held(let event):
            state = .receiving
            requestBytes = 0
            handle(event)
            process()
            hold()
        default: close()
        }
    }

    // MARK: Requests

    /// Handles the received requests, as far as possible without waiting.
    private func process() {
        guard !isProcessing, !awaitsTurn else { return }
        isProcessing = true
        defer {
            isProcessing = false
            updateEvents()
        }
        do throws(ParseFailure) {
            // The next request is parsed when the last response is sent completely: that bounds the memory of output.
            while case .receiving = state, output.isEmpty, !closesAfterResponse, !awaitsTurn {
                guard let event = try parser.nextEvent() else {
                    // The rest is an incomplete request, which cannot be completed.
                    if inputEnded { close() }
                    break
                }
                if case .head = event { headBytes = parser.headByteCount }
                let duration = holdTime(event)
                guard duration == .zero else {
                    state = .held(event)
                    requestBytes = headBytes
                    waitingSince = server.moment()
                    timer?.arm(after: duration)
                    break
                }
                handle(event)
            }
        } catch {
            refuse(error)
        }
    }

    /// How long a request is held before it is handled. The handler is asked once for each request.
    private func holdTime(_ event: RequestParser.Event) -> Duration {
        switch event {
        case .head(let head): head.framing == .none ? .zero : server.handler.hold(head, client)
        case .request(let request): admitted == nil ? server.handler.hold(request.head, client) : .zero
        }
    }

    private func handle(_ event: RequestParser.Event) {
        switch event {
        case .head(let head): headReceived(head)
        case .request(let request): answer(request)
        }
    }

    /// Moves the connection to the budget of identified clients when the handler has set an identity.
    private func noteIdentity() {
        if client.identity != nil { server.promote(self) }
    }

    private func headReceived(_ head: RequestHead) {
        // Without a body the request itself follows at once.
        guard head.framing != .none else { return }
        let step = server.handler.admit(head, client)
        noteIdentity()
        switch step {
        case .response(let response):
            // The body is not read.
            dropInput()
            return finish(response, to: head, keepsConnection: false)
        case .later(let object): admitted = object
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
        let step = admitted.map { .later($0) } ?? server.handler.begin(request, client)
        admitted = nil
        noteIdentity()
        let object: any AnyObject & Sendable
        switch step {
        case .response(let response):
            return finish(response, to: request.head, keepsConnection: keepsConnection(after: request))
        case .later(let later): object = later
        }
        requestBytes = headBytes + request.body.capacity
        hold()
        isWorking = true
        EventLoop.begin { [self] in
            let (response, stream) = await server.handler.respond(request, object)
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
        // A peer that has shut down its sending side gets answers to all requests that it has sent.
        let isLast = inputEnded && parser.bufferedByteCount == 0
        return request.head.keepsConnection && !closesAfterResponse && !isLast && !server.isDraining
    }

    /// The task of a request or of a stream has ended.
    private func endWork() {
        isWorking = false
        requestBytes = 0
        hold()
        if isClosed { share.release(self) }
    }

    private func finish(_ response: Response, to head: RequestHead, keepsConnection: Bool) {
        waitingSince = server.moment()
        state = .receiving
        send(response, to: head.method, version: head.version, keepsConnection: keepsConnection)
    }

    /// Continues with requests that are received already, after all other connections.
    private func processNext() {
        guard !awaitsTurn else { return }
        // Without further bytes only the end of the input is left to handle.
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

    /// Sends the head of a streamed response, and starts the task that produces its body.
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
                // The peer has disconnected, or the body cannot be completed: without the last chunk it is incomplete
                // (RFC 9112 §8).
                closesAfterResponse = true
                endStream(with: [])
            }
        }
        // Before the task has begun: it is queued.
        state = .streaming(task)
        write(bytes)
        updateEvents()
    }

    /// Sends a piece of a stream and waits until the kernel has taken it. Throws when the stream is closed or the peer
    /// has read nothing for ``ServerLimits/writeTimeout``.
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

    /// Whether the peer of a stream has read nothing for ``ServerLimits/writeTimeout``. Small pieces can fill the
    /// kernel's buffer for an hour before a write blocks.
    private func readsNothing() -> Bool {
        guard let unread else { return false }
        // Since the last piece this number can only have decreased.
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
        case .answering, .held, .streaming: true
        case .receiving, .lingering, .closed: false
        }
    }

    private func refuseForLackOfMemory() {
        refuse(ParseFailure(status: .tooManyRequests, reason: "too many requests are on their way"))
    }

    private func refuse(_ failure: ParseFailure) {
        let response = server.handler.respondToFailure(failure, client)
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
                    // The kernel's buffer is full: the timer takes over.
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

    /// Updates the server's count of output that waits for peers.
    private func countOutput() {
        let more = output.heldByteCount - outputBytes
        outputBytes = output.heldByteCount
        if more != 0 { server.countWaiting(more, of: self) }
    }

    private func outputDrained() {
        if case .streaming = state {
            timer?.cancel()
            // The socket is writable all the time: waiting for that would keep the loop busy.
            updateEvents()
            waitingForRoom?.resume()
            waitingForRoom = nil
        }
        guard case .receiving = state else { return }
        if closesAfterResponse { return linger() }
        if server.isDraining, !parser.isInsideRequest { return close() }
        // Either a 100 Continue was sent inside a request, or a response has ended one.
        timer?.arm(
            after: parser.isInsideBody
                ? server.limits.bodyTimeout
                : parser.isInsideRequest ? server.limits.headerTimeout : server.limits.idleTimeout
        )
        processNext()
    }

    // MARK: The end

    /// Shuts down the sending side and reads on for ``ServerLimits/lingerTimeout``: on a close with unread bytes the
    /// kernel sends a reset, which can overtake the response.
    private func linger() {
        guard !inputEnded, lingers else { return close() }
        state = .lingering
        dropInput()
        socket?.descriptor.shutdownSending()
        timer?.arm(after: server.limits.lingerTimeout)
        updateEvents()
    }

    func close() {
        if case .closed = state { return }
        if case .streaming(let task) = state { task.cancel() }
        if case .held = state { requestBytes = 0 }
        state = .closed
        watch = nil
        socket = nil
        client.socket = nil
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
        case .receiving, .answering, .held, .streaming:
            let hasRoom = parser.bufferedByteCount < server.limits.readAheadBytesLimit && share.hasRoom
            if hasRoom, !inputEnded { events.insert(.readable) }
        case .closed: return
        }
        watch?.events = events
    }
}

/// The connection for the producer of a streamed body.
private struct StreamWriter: BodyWriter {
    let connection: Connection
    let isChunked: Bool

    func write(_ bytes: [UInt8]) async throws(BodyStreamClosed) {
        guard !bytes.isEmpty else { return }
        try await connection.writePiece(isChunked ? ResponseEncoder.chunk(bytes) : bytes)
    }
}
