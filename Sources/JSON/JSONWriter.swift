/// Builds one JSON value as compact text in UTF-8, members in the order of the calls.
///
/// Escapes only what RFC 8259 §7 requires: the quotation mark, the backslash and U+0000 to U+001F. Preconditions: a key
/// before each member's value and nowhere else, ends that fit the beginnings, one value in all. That no key is written
/// twice is up to the caller.
public struct JSONWriter: Sendable {
    private enum Context: Sendable {
        case document
        case array
        /// In an object, between members.
        case object
        /// In an object, after a key.
        case member
    }

    private var bytes: [UInt8] = []
    private var contexts = [Context.document]
    /// Whether the innermost array or object, or the document, has a value already.
    private var hasValue = false

    /// A writer that has written nothing.
    public init() {}

    /// The text. Precondition: the value is complete.
    public func finish() -> [UInt8] {
        precondition(contexts.count == 1 && hasValue, "the value is not complete")
        return bytes
    }

    /// Begins an object; its members follow.
    public mutating func beginObject() {
        beginValue()
        begin(.object, UInt8(ascii: "{"))
    }

    /// Ends the innermost object. Precondition: that is what is open, and no key waits for its value.
    public mutating func endObject() {
        end(.object, UInt8(ascii: "}"))
    }

    /// Begins an array; its elements follow.
    public mutating func beginArray() {
        beginValue()
        begin(.array, UInt8(ascii: "["))
    }

    /// Ends the innermost array. Precondition: that is what is open.
    public mutating func endArray() {
        end(.array, UInt8(ascii: "]"))
    }

    /// The key of the member whose value is written next.
    public mutating func key(_ key: String) {
        precondition(contexts.last == .object, "a key outside an object, or a second one")
        if hasValue { bytes.append(UInt8(ascii: ",")) }
        appendString(key)
        bytes.append(UInt8(ascii: ":"))
        contexts[contexts.count - 1] = .member
    }

    /// A string, or null for nil.
    public mutating func string(_ value: String?) {
        guard let value else { return null() }
        beginValue()
        appendString(value)
    }

    /// An integer, or null for nil.
    public mutating func integer(_ value: Int?) {
        guard let value else { return null() }
        beginValue()
        bytes += String(value).utf8
    }

    /// A boolean, or null for nil.
    public mutating func bool(_ value: Bool?) {
        guard let value else { return null() }
        beginValue()
        bytes += (value ? "true" : "false").utf8
    }

    /// The null of JSON.
    public mutating func null() {
        beginValue()
        bytes += "null".utf8
    }

    /// A whole value of any kind.
    public mutating func value(_ value: JSONValue) {
        switch value {
        case .null: null()
        case .bool(let flag): bool(flag)
        case .number(let number):
            beginValue()
            bytes += number.text.utf8
        case .string(let text): string(text)
        case .array(let elements):
            beginArray()
            for element in elements { self.value(element) }
            endArray()
        case .object(let object):
            beginObject()
            for (key, value) in object { member(key, value) }
            endObject()
        }
    }

    /// A value that is encoded already. Precondition, checked only for emptiness: it is one complete JSON value.
    public mutating func raw(_ encoded: [UInt8]) { raw(encoded[...]) }

    /// The same with a part of an array.
    public mutating func raw(_ encoded: ArraySlice<UInt8>) {
        precondition(!encoded.isEmpty, "an encoded value is not empty")
        beginValue()
        bytes += encoded
    }

    /// Members that are encoded already, without the braces around them. Precondition, checked only for emptiness: they
    /// are complete members of the innermost object.
    public mutating func rawMembers(_ encoded: [UInt8]) {
        precondition(contexts.last == .object && !encoded.isEmpty, "members outside an object, or none")
        if hasValue { bytes.append(UInt8(ascii: ",")) }
        bytes += encoded
        hasValue = true
    }

    /// A key with a string, or with null for nil.
    public mutating func member(_ key: String, string value: String?) {
        self.key(key)
        string(value)
    }

    /// A key with an integer, or with null for nil.
    public mutating func member(_ key: String, integer value: Int?) {
        self.key(key)
        integer(value)
    }

    /// A key with a boolean, or with null for nil.
    public mutating func member(_ key: String, bool value: Bool?) {
        self.key(key)
        bool(value)
    }

    /// A key with a value of any kind.
    public mutating func member(_ key: String, _ value: JSONValue) {
        self.key(key)
        self.value(value)
    }

    private mutating func begin(_ context: Context, _ bracket: UInt8) {
        bytes.append(bracket)
        contexts.append(context)
        hasValue = false
    }

    private mutating func end(_ context: Context, _ bracket: UInt8) {
        precondition(contexts.last == context, "an end without its beginning, or after a key without a value")
        contexts.removeLast()
        bytes.append(bracket)
        hasValue = true
    }

    /// Writes what separates the next value from the one before and notes that there is one.
    private mutating func beginValue() {
        switch contexts[contexts.count - 1] {
        case .document: precondition(!hasValue, "a second value in the document")
        case .array: if hasValue { bytes.append(UInt8(ascii: ",")) }
        case .object: preconditionFailure("a value without a key in an object")
        case .member: contexts[contexts.count - 1] = .object
        }
        hasValue = true
    }

    private mutating func appendString(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        // Most strings need no escape, and are then copied at once.
        let span = text.utf8Span.span
        var isPlain = true
        for index in span.indices where Self.needsEscape(span[index]) { isPlain = false }
        if isPlain {
            bytes += text.utf8
        } else {
            for byte in text.utf8 { appendEscaping(byte) }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    private mutating func appendEscaping(_ byte: UInt8) {
        guard Self.needsEscape(byte) else { return bytes.append(byte) }
        bytes.append(UInt8(ascii: "\\"))
        switch byte {
        case 0x08: bytes.append(UInt8(ascii: "b"))
        case 0x09: bytes.append(UInt8(ascii: "t"))
        case 0x0A: bytes.append(UInt8(ascii: "n"))
        case 0x0C: bytes.append(UInt8(ascii: "f"))
        case 0x0D: bytes.append(UInt8(ascii: "r"))
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(byte)
        default:
            let digits = String(byte, radix: 16)
            bytes += (byte < 0x10 ? "u000" : "u00").utf8
            bytes += digits.utf8
        }
    }
}
