/// RFC 3986 §2.1.
enum PercentEncoding {
    /// The text behind `encoded`; refuses a percent sign without two digits, NUL, and what is not UTF-8.
    ///
    /// With `plusIsSpace` a plus sign stands for a space, as HTML forms and client libraries write queries.
    static func decode(_ encoded: ArraySlice<UInt8>, plusIsSpace: Bool) throws(ParseFailure) -> String {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(encoded.count)
        var index = encoded.startIndex
        while index < encoded.endIndex {
            var byte = encoded[index]
            index += 1
            if byte == UInt8(ascii: "%") {
                guard index + 1 < encoded.endIndex, let high = encoded[index].hexadecimalValue,
                    let low = encoded[index + 1].hexadecimalValue
                else {
                    throw .badRequest("the request target contains an invalid percent-encoding")
                }
                byte = high << 4 | low
                index += 2
            } else if plusIsSpace, byte == UInt8(ascii: "+") {
                byte = .space
            }
            guard byte != 0 else { throw .badRequest("the request target contains an encoded NUL") }
            decoded.append(byte)
        }
        guard let text = String(validating: decoded, as: UTF8.self) else {
            throw .badRequest("the request target is not UTF-8 once decoded")
        }
        return text
    }
}
