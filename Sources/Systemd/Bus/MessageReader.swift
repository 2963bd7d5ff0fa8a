internal import CSystemd
internal import Glibc

/// Reads a message in order: sd_bus_message_read_basic(3), sd_bus_message_enter_container(3).
///
/// It borrows the message during a handler and cannot outlive it.
@safe public struct MessageReader: ~Copyable {
    private let message: OpaquePointer

    init(_ message: OpaquePointer) {
        unsafe self.message = message
    }

    /// The object path that the message is about.
    public var path: String? {
        unsafe sd_bus_message_get_path(message).map { text in unsafe String(cString: text) }
    }

    /// A string (s), object path (o) or signature (g).
    public func string() throws(SystemError) -> String {
        let type = try peek()
        guard [SD_BUS_TYPE_STRING, SD_BUS_TYPE_OBJECT_PATH, SD_BUS_TYPE_SIGNATURE].contains(Int(type)) else {
            throw SystemError(call: "sd_bus_message_read_basic", code: type == 0 ? ENODATA : EBADMSG)
        }
        var text: UnsafePointer<CChar>?
        try check("sd_bus_message_read_basic", unsafe sd_bus_message_read_basic(message, type, &text))
        return unsafe String(cString: text!)
    }

    /// An unsigned 32-bit integer (u).
    public func uint32() throws(SystemError) -> UInt32 { try basic(SD_BUS_TYPE_UINT32, 0) }

    /// A signed 32-bit integer (i).
    public func int32() throws(SystemError) -> Int32 { try basic(SD_BUS_TYPE_INT32, 0) }

    /// An unsigned 64-bit integer (t).
    public func uint64() throws(SystemError) -> UInt64 { try basic(SD_BUS_TYPE_UINT64, 0) }

    /// A boolean (b).
    public func bool() throws(SystemError) -> Bool { try basic(SD_BUS_TYPE_BOOLEAN, CInt(0)) != 0 }

    /// An array of bytes (ay).
    public func bytes() throws(SystemError) -> [UInt8] {
        var start: UnsafeRawPointer?
        var count = 0
        let type = CChar(SD_BUS_TYPE_BYTE)
        try check("sd_bus_message_read_array", unsafe sd_bus_message_read_array(message, type, &start, &count))
        return unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
    }

    /// Skips one value of any type.
    public func skip() throws(SystemError) {
        try check("sd_bus_message_skip", unsafe sd_bus_message_skip(message, nil))
    }

    /// Reads every element of an array with `element`, which must consume exactly one.
    public func array(of contents: String, _ element: () throws(SystemError) -> Void) throws(SystemError) {
        try enter(SD_BUS_TYPE_ARRAY, contents)
        while unsafe try check("sd_bus_message_at_end", sd_bus_message_at_end(message, 0)) == 0 { try element() }
        try exit()
    }

    /// Reads a structure with `members`, which must consume all of it.
    public func structure(of contents: String, _ members: () throws(SystemError) -> Void) throws(SystemError) {
        try enter(SD_BUS_TYPE_STRUCT, contents)
        try members()
        try exit()
    }

    /// Reads a dictionary of variants (a{sv}): `value` is called with each key, and consumes the value or returns false
    /// to skip it.
    public func properties(_ value: (String) throws(SystemError) -> Bool) throws(SystemError) {
        try enter(SD_BUS_TYPE_ARRAY, "{sv}")
        while try enter(SD_BUS_TYPE_DICT_ENTRY, "sv") {
            let name = try string()
            try variant { () throws(SystemError) in
                if try !value(name) { try skip() }
            }
            try exit()
        }
        try exit()
    }

    /// Enters a variant; `value` must consume its content.
    public func variant(_ value: () throws(SystemError) -> Void) throws(SystemError) {
        var contents: UnsafePointer<CChar>?
        try check("sd_bus_message_peek_type", unsafe sd_bus_message_peek_type(message, nil, &contents))
        let result = unsafe sd_bus_message_enter_container(message, CChar(SD_BUS_TYPE_VARIANT), contents)
        try check("sd_bus_message_enter_container", result)
        try value()
        try exit()
    }

    /// False when the surrounding array has no further element.
    @discardableResult
    private func enter(_ type: Int, _ contents: String) throws(SystemError) -> Bool {
        let result = unsafe sd_bus_message_enter_container(message, CChar(type), contents)
        return try check("sd_bus_message_enter_container", result) > 0
    }

    private func exit() throws(SystemError) {
        try check("sd_bus_message_exit_container", unsafe sd_bus_message_exit_container(message))
    }

    private func peek() throws(SystemError) -> CChar {
        var type: CChar = 0
        try check("sd_bus_message_peek_type", unsafe sd_bus_message_peek_type(message, &type, nil))
        return type
    }

    private func basic<Value: BitwiseCopyable>(_ type: Int, _ initial: Value) throws(SystemError) -> Value {
        var value = initial
        let read = try check(
            "sd_bus_message_read_basic",
            unsafe sd_bus_message_read_basic(message, CChar(type), &value)
        )
        // Zero means that the container has ended before the value.
        guard read > 0 else { throw SystemError(call: "sd_bus_message_read_basic", code: ENODATA) }
        return value
    }
}
