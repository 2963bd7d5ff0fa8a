import JSON
import Testing

@Suite struct JSONNumberTests {
    @Test(arguments: [
        ("0", 0), ("-0", 0), ("0.0", 0), ("-0.0e5", 0), ("0e999999999999999999999", 0), ("1", 1), ("-1", -1),
        ("2352.0", 2352), ("2352.000", 2352), ("1e3", 1000), ("1E+3", 1000), ("1.5e1", 15), ("-1.25e2", -125),
        ("1000e-3", 1), ("10e-1", 1), ("0.001e3", 1), ("100", 100), ("1e18", 1_000_000_000_000_000_000),
        ("9223372036854775807", Int.max), ("-9223372036854775808", Int.min), ("9223372036854775807.0", Int.max),
        ("922337203685477580.7e1", Int.max), ("92233720368547758070e-1", Int.max),
    ])
    func `a number without a fraction that fits is an integer`(text: String, expected: Int) throws {
        #expect(try number(text).integer == expected)
    }

    @Test(arguments: [
        "0.5", "1.5", "1e-1", "15e-1", "-2352.1", "1e-999999999999999999999", "9223372036854775808",
        "-9223372036854775809", "9223372036854775807.5", "1e19", "1e20", "1e999999999999999999999", "-1e19",
        "99999999999999999999", "10e99999999999999999999", "0.1e-99999999999999999999", "0.1e9223372036854775807",
        "10e-9223372036854775808", "1.0000000000000000000000001",
    ])
    func `a number with a fraction or beyond Int is not an integer`(text: String) throws {
        #expect(try number(text).integer == nil)
    }

    @Test func `a number keeps its text`() throws {
        #expect(try number("-1.50E+07").text == "-1.50E+07")
        #expect(JSONNumber(Int.min).text == "-9223372036854775808")
    }

    private func number(_ text: String) throws -> JSONNumber {
        guard case .number(let number) = try JSONParser.parse(Array(text.utf8)) else {
            throw JSONParseFailure(offset: 0, reason: "not a number")
        }
        return number
    }
}
