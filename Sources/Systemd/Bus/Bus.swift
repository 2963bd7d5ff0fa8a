internal import CSystemd
internal import Glibc

/// A D-Bus connection on the event loop: sd-bus(3).
@EventLoopActor
@safe public final class Bus {
    private let bus: OpaquePointer
    /// The slot through which libsystemd reports the end of the connection.
    private var disconnected: Slot?

    /// Connects to a peer that listens on a Unix socket, without a bus daemon: the sender of every message is that
    /// peer, and there are no bus names. The connection is made in the background; a failure is reported as a
    /// disconnect. `onDisconnect` is called once, when the connection is lost and every pending call has failed.
    public convenience init(
        connectingTo path: String,
        onDisconnect: @escaping @EventLoopActor () -> Void
    ) throws(SystemError) {
        let escaped = Bus.escapeAddress(path)
        try unsafe self.init(onDisconnect: onDisconnect) { bus throws(SystemError) in
            try check("sd_bus_set_address", unsafe sd_bus_set_address(bus, "unix:path=" + escaped))
        }
    }

    /// Uses a connected socket and takes ownership of it.
    public convenience init(
        adopting socket: consuming FileDescriptor,
        onDisconnect: @escaping @EventLoopActor () -> Void
    ) throws(SystemError) {
        let descriptor = socket.relinquish()
        try unsafe self.init(onDisconnect: onDisconnect) { bus throws(SystemError) in
            try check("sd_bus_set_fd", unsafe sd_bus_set_fd(bus, descriptor, descriptor))
        }
    }

    private init(
        onDisconnect: @escaping @EventLoopActor () -> Void,
        configure: (OpaquePointer) throws(SystemError) -> Void
    ) throws(SystemError) {
        var created: OpaquePointer?
        try check("sd_bus_new", unsafe sd_bus_new(&created))
        unsafe bus = created!
        try unsafe configure(bus)
        try check("sd_bus_start", unsafe sd_bus_start(bus))
        try check(
            "sd_bus_attach_event",
            unsafe sd_bus_attach_event(bus, EventLoop.shared.event, CInt(EventLoop.Priority.bus))
        )
        disconnected = try subscribe(
            to: "type='signal',path='/org/freedesktop/DBus/Local',"
                + "interface='org.freedesktop.DBus.Local',member='Disconnected'"
        ) { _ in onDisconnect() }
    }

    isolated deinit {
        disconnected = nil
        unsafe sd_bus_detach_event(bus)
        unsafe sd_bus_close_unref(bus)
    }

    /// Calls a method and waits for its reply.
    ///
    /// `arguments` appends the arguments to the message. `decode` reads the reply inside the callback: whatever must
    /// not be reordered with the messages that follow (a job's path before its JobRemoved) is done there and not after
    /// the `await`. `meanwhile` is called once, when the message has been sent. Throws `local` and `remote` errors:
    /// ``BusError``.
    public func call<Reply: Sendable>(
        _ method: BusMethod,
        timeout: Duration = .seconds(25),
        arguments: (borrowing MessageWriter) throws(SystemError) -> Void = { _ throws(SystemError) in },
        meanwhile: () -> Void = {},
        decode: @escaping @EventLoopActor (borrowing MessageReader) throws(SystemError) -> Reply
    ) async throws(BusError) -> Reply {
        let result: Result<Reply, BusError> = await withCheckedContinuation { continuation in
            let pending = unsafe PendingCall { reply in
                unsafe continuation.resume(
                    returning: reply.flatMap { message in
                        do throws(SystemError) {
                            return .success(try decode(unsafe MessageReader(message.pointer)))
                        } catch {
                            return .failure(.local(error))
                        }
                    }
                )
            }
            do throws(SystemError) {
                try call(method, timeout: timeout, arguments: arguments, pending: pending)
                meanwhile()
            } catch {
                continuation.resume(returning: .failure(.local(error)))
            }
        }
        return try result.get()
    }

    /// Calls a method whose reply has no content of interest.
    public func call(
        _ method: BusMethod,
        timeout: Duration = .seconds(25),
        arguments: (borrowing MessageWriter) throws(SystemError) -> Void = { _ throws(SystemError) in }
    ) async throws(BusError) {
        try await call(method, timeout: timeout, arguments: arguments) { _ throws(SystemError) in }
    }

    /// Whether the connection is open: sd_bus_is_open(3). It can be closed before the disconnect handler is called.
    public var isOpen: Bool { unsafe sd_bus_is_open(bus) > 0 }

    /// Calls a handler for every message that a match rule fits (sd_bus_add_match(3)), until the slot is dropped.
    public func subscribe(
        to rule: String,
        handler: @escaping @EventLoopActor (borrowing MessageReader) -> Void
    ) throws(SystemError) -> Slot {
        let slot = Slot(handler: handler)
        let result = unsafe sd_bus_add_match(
            bus,
            &slot.slot,
            rule,
            { message, context, _ in
                EventLoopActor.assumeIsolated {
                    let slot = unsafe Unmanaged<Slot>.fromOpaque(context!).takeUnretainedValue()
                    slot.handler(unsafe MessageReader(message!))
                }
                return 0
            },
            Unmanaged.passUnretained(slot).toOpaque()
        )
        try check("sd_bus_add_match", result)
        return slot
    }

    /// Calls a method without a reply, not even an error. The peer handles it before later calls.
    public func send(
        _ method: BusMethod,
        arguments: (borrowing MessageWriter) throws(SystemError) -> Void
    ) throws(SystemError) {
        let message = unsafe try makeCall(of: method, arguments)
        defer { unsafe sd_bus_message_unref(message) }
        try check("sd_bus_message_set_expect_reply", unsafe sd_bus_message_set_expect_reply(message, 0))
        FaultPoint.pass()
        try check("sd_bus_send", unsafe sd_bus_send(bus, message, nil))
        FaultPoint.pass()
    }

    private func makeCall(
        of method: BusMethod,
        _ arguments: (borrowing MessageWriter) throws(SystemError) -> Void
    ) throws(SystemError) -> OpaquePointer {
        var message: OpaquePointer?
        try check(
            "sd_bus_message_new_method_call",
            unsafe sd_bus_message_new_method_call(bus, &message, nil, method.path, method.interface, method.member)
        )
        do throws(SystemError) {
            try arguments(unsafe MessageWriter(message!))
        } catch {
            unsafe sd_bus_message_unref(message)
            throw error
        }
        return unsafe message!
    }

    private func call(
        _ method: BusMethod,
        timeout: Duration,
        arguments: (borrowing MessageWriter) throws(SystemError) -> Void,
        pending: PendingCall
    ) throws(SystemError) {
        let message = unsafe try makeCall(of: method, arguments)
        defer { unsafe sd_bus_message_unref(message) }
        FaultPoint.pass()
        let context = unsafe Unmanaged.passRetained(pending)
        var slot: OpaquePointer?
        let result = unsafe sd_bus_call_async(
            bus,
            &slot,
            message,
            { reply, context, _ in
                EventLoopActor.assumeIsolated {
                    let pending = unsafe Unmanaged<PendingCall>.fromOpaque(context!).takeUnretainedValue()
                    unsafe pending.end(with: reply!)
                }
                return 0
            },
            context.toOpaque(),
            timeout.microseconds
        )
        guard result >= 0 else {
            unsafe context.release()
            throw SystemError(call: "sd_bus_call_async", code: -result)
        }
        // The slot is owned by the connection from here on, and releases the context in every case when it ends.
        unsafe sd_bus_slot_set_destroy_callback(slot) { context in
            unsafe Unmanaged<PendingCall>.fromOpaque(context!).release()
        }
        unsafe sd_bus_slot_set_floating(slot, 1)
        unsafe sd_bus_slot_unref(slot)
        FaultPoint.pass()
    }

    /// The path of a D-Bus object below `prefix` for any label: sd_bus_path_encode(3).
    public static func objectPath(below prefix: String, for label: String) throws(SystemError) -> String {
        var path: UnsafeMutablePointer<CChar>?
        try check("sd_bus_path_encode", unsafe sd_bus_path_encode(prefix, label, &path))
        defer { unsafe free(path) }
        return unsafe String(cString: path!)
    }

    /// The label of an object path below `prefix`; nil when the path is not below it: sd_bus_path_decode(3).
    public static func label(ofObjectPath path: String, below prefix: String) -> String? {
        var label: UnsafeMutablePointer<CChar>?
        guard unsafe sd_bus_path_decode(path, prefix, &label) > 0 else { return nil }
        defer { unsafe free(label) }
        return unsafe String(cString: label!)
    }

    /// Escapes a value for a D-Bus address: all characters except those that the specification allows unescaped.
    private static func escapeAddress(_ value: String) -> String {
        let plain = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_/.\\*".utf8)
        let digits = Array("0123456789abcdef")
        return value.utf8.reduce(into: "") { text, byte in
            if plain.contains(byte) {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                text += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
            }
        }
    }
}

/// A method of an object of the peer.
public struct BusMethod: Sendable {
    public let path: String
    public let interface: String
    public let member: String

    public init(path: String, interface: String, member: String) {
        self.path = path
        self.interface = interface
        self.member = member
    }
}

/// A registration with the bus, which ends when the object is released.
@EventLoopActor
@safe public final class Slot {
    fileprivate var slot: OpaquePointer?
    fileprivate let handler: @EventLoopActor (borrowing MessageReader) -> Void

    fileprivate init(handler: @escaping @EventLoopActor (borrowing MessageReader) -> Void) {
        self.handler = handler
    }

    isolated deinit {
        unsafe sd_bus_slot_unref(slot)
    }
}

/// A pending call: resumes its caller exactly once, with the reply or an error.
@safe
@EventLoopActor
private final class PendingCall {
    /// A reply, borrowed from libsystemd during the callback.
    @unsafe struct Message {
        let pointer: OpaquePointer
    }

    private let resume: (Result<Message, BusError>) -> Void

    init(resume: @escaping (Result<Message, BusError>) -> Void) {
        unsafe self.resume = resume
    }

    func end(with reply: OpaquePointer) {
        guard let error = unsafe sd_bus_message_get_error(reply) else {
            unsafe resume(.success(Message(pointer: reply)))
            return
        }
        // libsystemd creates the replies for a time-out and a lost connection itself, with the bus driver as the
        // sender, which does not exist on a connection without a bus daemon.
        if unsafe sd_bus_message_get_sender(reply).map({ unsafe String(cString: $0) }) == "org.freedesktop.DBus" {
            let isOpen = unsafe sd_bus_is_open(sd_bus_message_get_bus(reply)) > 0
            unsafe resume(.failure(.local(isOpen ? .timedOut : .notConnected)))
            return
        }
        let name = unsafe String(cString: error.pointee.name)
        let message = unsafe error.pointee.message.map { unsafe String(cString: $0) } ?? ""
        unsafe resume(.failure(.remote(name: name, message: message)))
    }
}

extension FileDescriptor {
    /// Gives up ownership: the receiver of the number closes it.
    package consuming func relinquish() -> CInt {
        let raw = raw
        discard self
        return raw
    }
}

extension SystemError {
    /// The connection is lost, or was never established.
    var isDisconnected: Bool { [ECONNRESET, ENOTCONN, EPIPE, ECONNREFUSED, ESHUTDOWN, ENOENT].contains(code) }

    /// No reply came in time.
    var isTimeout: Bool { code == ETIMEDOUT }
}
