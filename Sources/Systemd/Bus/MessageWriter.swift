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

    /// Appends a boolean (b).
    public func bool(_ value: Bool) throws(SystemError) {
        var value: CInt = value ? 1 : 0
        let type = CChar(SD_BUS_TYPE_BOOLEAN)
        try check("sd_bus_message_append_basic", unsafe sd_bus_message_append_basic(message, type, &value))
    }

    /// Appends properties with unsigned integers as values (a(sv) with t).
    public func properties(_ properties: [(name: String, value: UInt64)]) throws(SystemError) {
        try open(SD_BUS_TYPE_ARRAY, "(sv)")
        for property in properties {
            try open(SD_BUS_TYPE_STRUCT, "sv")
            try string(property.name)
            try open(SD_BUS_TYPE_VARIANT, "t")
            var value = property.value
            let type = CChar(SD_BUS_TYPE_UINT64)
            try check("sd_bus_message_append_basic", unsafe sd_bus_message_append_basic(message, type, &value))
            try close()
            try close()
        }
        try close()
    }

    private func open(_ type: Int, _ contents: String) throws(SystemError) {
        let result = unsafe sd_bus_message_open_container(message, CChar(type), contents)
        try check("sd_bus_message_open_container", result)
    }

    private func close() throws(SystemError) {
        try check("sd_bus_message_close_container", unsafe sd_bus_message_close_container(message))
    }

    /// Appends an array of strings (as).
    public func strings(_ values: [String]) throws(SystemError) {
        try open(SD_BUS_TYPE_ARRAY, "s")
        for value in values { try string(value) }
        try close()
    }
}
