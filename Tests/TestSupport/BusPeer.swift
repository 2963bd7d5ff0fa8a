import CSystemd
import Glibc
package import Systemd

/// The other end of a D-Bus connection, scripted: a second sd_bus on the same loop.
@EventLoopActor
package final class BusPeer {
    /// What a call gets.
    package enum Answer {
        case reply(@EventLoopActor (Outgoing) -> Void)
        case error(name: String, message: String)
        /// No answer at all.
        case silence
        /// What libsystemd itself says: org.freedesktop.DBus.Peer is built in.
        case builtIn
    }

    private var bus: OpaquePointer?
    private var answer: @EventLoopActor (Call) -> Answer
    /// The calls that have come, in order.
    package private(set) var calls: [Call] = []
    /// Called when a reply has been sent: what is sent here is in the socket together with it.
    package var replied: @EventLoopActor () -> Void = {}

    /// Serves a connected socket, which it takes over.
    package init(adopting descriptor: CInt, answer: @escaping @EventLoopActor (Call) -> Answer) throws {
        self.answer = answer
        var created: OpaquePointer?
        try check("sd_bus_new", sd_bus_new(&created))
        bus = created
        var id = sd_id128_t()
        try check("sd_id128_randomize", sd_id128_randomize(&id))
        try check("sd_bus_set_fd", sd_bus_set_fd(bus, descriptor, descriptor))
        try check("sd_bus_set_server", sd_bus_set_server(bus, 1, id))
        try check("sd_bus_set_anonymous", sd_bus_set_anonymous(bus, 1))
        try check(
            "sd_bus_add_filter",
            sd_bus_add_filter(
                bus,
                nil,
                { message, context, _ in
                    EventLoopActor.assumeIsolated {
                        Unmanaged<BusPeer>.fromOpaque(context!).takeUnretainedValue().received(message!)
                    }
                },
                Unmanaged.passUnretained(self).toOpaque()
            )
        )
        try check("sd_bus_start", sd_bus_start(bus))
        try check("sd_bus_attach_event", sd_bus_attach_event(bus, EventLoop.shared.event, 0))
    }

    /// Serves a connected socket, which it takes over.
    package convenience init(
        taking socket: consuming FileDescriptor,
        answer: @escaping @EventLoopActor (Call) -> Answer
    ) throws {
        try self.init(adopting: socket.relinquish(), answer: answer)
    }

    isolated deinit { close() }

    /// Ends the connection, with whatever was not answered.
    package func close() {
        guard let bus else { return }
        self.bus = nil
        sd_bus_detach_event(bus)
        sd_bus_close(bus)
        sd_bus_unref(bus)
    }

    /// Sends a signal.
    package func signal(
        _ member: String,
        of interface: String,
        path: String,
        _ contents: @EventLoopActor (Outgoing) -> Void = { _ in }
    ) {
        guard let bus else { return }
        var message: OpaquePointer?
        let result = sd_bus_message_new_signal(bus, &message, path, interface, member)
        precondition(result >= 0, "sd_bus_message_new_signal: \(result)")
        contents(Outgoing(message!))
        sd_bus_send(bus, message, nil)
        sd_bus_message_unref(message)
    }

    private func received(_ message: OpaquePointer) -> CInt {
        guard sd_bus_message_is_method_call(message, nil, nil) > 0 else { return 0 }
        let call = Call(message)
        let answer = answer(call)
        calls.append(call)
        switch call.expectsReply ? answer : .silence {
        case .silence: return 1
        case .builtIn: return 0
        case .error(let name, let text):
            var reply: OpaquePointer?
            var error = sd_bus_error()
            sd_bus_error_set(&error, name, text)
            sd_bus_message_new_method_error(message, &reply, &error)
            sd_bus_error_free(&error)
            send(reply)
        case .reply(let write):
            var reply: OpaquePointer?
            sd_bus_message_new_method_return(message, &reply)
            write(Outgoing(reply!))
            send(reply)
            replied()
        }
        return 1
    }

    private func send(_ message: OpaquePointer?) {
        // The connection may have been closed by the script that answered.
        if let bus { sd_bus_send(bus, message, nil) }
        sd_bus_message_unref(message)
    }
}

extension BusPeer {
    /// A method call as it came.
    package struct Call: Equatable {
        package let path: String
        package let interface: String
        package let member: String
        /// Its arguments as text: arrays and structures in brackets.
        package let arguments: [String]
        package let expectsReply: Bool

        package init(_ message: OpaquePointer) {
            expectsReply = sd_bus_message_get_expect_reply(message) > 0
            path = String(cString: sd_bus_message_get_path(message))
            interface = String(cString: sd_bus_message_get_interface(message))
            member = String(cString: sd_bus_message_get_member(message))
            var arguments: [String] = []
            while let argument = Self.next(message) { arguments.append(argument) }
            self.arguments = arguments
            sd_bus_message_rewind(message, 1)
        }

        /// The next argument; nil for none.
        private static func next(_ message: OpaquePointer) -> String? {
            var type: CChar = 0
            var contents: UnsafePointer<CChar>?
            guard sd_bus_message_peek_type(message, &type, &contents) > 0 else { return nil }
            switch Int(type) {
            case SD_BUS_TYPE_STRING, SD_BUS_TYPE_OBJECT_PATH:
                var text: UnsafePointer<CChar>?
                sd_bus_message_read_basic(message, type, &text)
                return String(cString: text!)
            case SD_BUS_TYPE_ARRAY, SD_BUS_TYPE_STRUCT, SD_BUS_TYPE_VARIANT:
                sd_bus_message_enter_container(message, type, contents)
                var elements: [String] = []
                while let element = next(message) { elements.append(element) }
                sd_bus_message_exit_container(message)
                return "[\(elements.joined(separator: " "))]"
            default:
                // At most eight bytes, of which the message fills the first.
                var number: UInt64 = 0
                sd_bus_message_read_basic(message, type, &number)
                return String(number)
            }
        }
    }

    /// Writes a message.
    @EventLoopActor
    package struct Outgoing {
        private let message: OpaquePointer

        package init(_ message: OpaquePointer) { self.message = message }

        package func string(_ value: String) { sd_bus_message_append_basic(message, CChar(SD_BUS_TYPE_STRING), value) }

        package func path(_ value: String) {
            sd_bus_message_append_basic(message, CChar(SD_BUS_TYPE_OBJECT_PATH), value)
        }

        package func uint32(_ value: UInt32) { basic(SD_BUS_TYPE_UINT32, value) }

        package func int32(_ value: Int32) { basic(SD_BUS_TYPE_INT32, value) }

        package func uint64(_ value: UInt64) { basic(SD_BUS_TYPE_UINT64, value) }

        package func bool(_ value: Bool) { basic(SD_BUS_TYPE_BOOLEAN, CInt(value ? 1 : 0)) }

        package func double(_ value: Double) { basic(SD_BUS_TYPE_DOUBLE, value) }

        package func bytes(_ value: [UInt8]) {
            sd_bus_message_append_array(message, CChar(SD_BUS_TYPE_BYTE), value, value.count)
        }

        package func array(of contents: String, _ body: @EventLoopActor () -> Void) {
            container(SD_BUS_TYPE_ARRAY, contents, body)
        }

        package func structure(of contents: String, _ body: @EventLoopActor () -> Void) {
            container(SD_BUS_TYPE_STRUCT, contents, body)
        }

        package func variant(_ contents: String, _ body: @EventLoopActor () -> Void) {
            container(SD_BUS_TYPE_VARIANT, contents, body)
        }

        /// A property in a dictionary of variants.
        package func entry(_ name: String, _ contents: String, _ body: @EventLoopActor () -> Void) {
            container(SD_BUS_TYPE_DICT_ENTRY, "sv") {
                string(name)
                variant(contents, body)
            }
        }

        private func basic<Value: BitwiseCopyable>(_ type: Int, _ value: Value) {
            var value = value
            sd_bus_message_append_basic(message, CChar(type), &value)
        }

        private func container(_ type: Int, _ contents: String, _ body: @EventLoopActor () -> Void) {
            let opened = sd_bus_message_open_container(message, CChar(type), contents)
            precondition(opened >= 0, "sd_bus_message_open_container: \(opened)")
            body()
            sd_bus_message_close_container(message)
        }
    }
}
