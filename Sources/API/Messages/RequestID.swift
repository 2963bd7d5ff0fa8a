/// The id under which a request appears in the response and in every log line.
enum RequestID {
    /// The longest id that is accepted from a client.
    static let lengthLimit = 128

    /// The client's id if it consists of letters, digits and `-_.:` only, so that it needs no escaping anywhere; else
    /// nil.
    static func sane(_ text: String?) -> String? {
        guard let text, (1...lengthLimit).contains(text.utf8.count) else { return nil }
        let isSane = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "-_.:".utf8.contains(byte)
            }
        }
        return isSane ? text : nil
    }
}
