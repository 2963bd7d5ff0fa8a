internal import CSystemd
internal import Glibc

/// Appends arguments to a message in order: sd_bus_message_append_basic(3).
@safe public struct MessageWriter: ~Copyable {
    private let message: OpaquePointer

    init(_ message: OpaquePointer) {
        unsafe self.message = message
    }

    /// Appends a string (s).
    public func string(_ value: String) throws(SystemError) {
        let type = CChar(SD_BUS_TYPE_STRING)
        try check("sd_bus_message_append_basic", unsafe sd_bus_message_append_basic(message, type, value))
    }

    /// Appends a signed integer (i).
    public func int32(_ value: Int32) throws(SystemError) {
        var value = value
        let type = CChar(SD_BUS_TYPE_INT32)
        try check("sd_bus_message_append_basic", unsafe sd_bus_message_append_basic(message, type, &value))
    }

    /// Appends an unsigned integer (u).
    public func uint32(_ value: UInt32) throws(SystemError) {
        var value = value
        let type = CChar(SD_BUS_TYPE_UINT32)
        try check("sd_bus_message_append_basic", unsafe sd_bus_message_append_basic(message, type, &value))
    }

    /// Appends an array of strings (as).
    public func strings(_ values: [String]) throws(SystemError) {
        let array = CChar(SD_BUS_TYPE_ARRAY)
        try check("sd_bus_message_open_container", unsafe sd_bus_message_open_container(message, array, "s"))
        for value in values { try string(value) }
        try check("sd_bus_message_close_container", unsafe sd_bus_message_close_container(message))
    }
}
