import TestSupport
import Testing

@testable import Services

/// Reads what systemd would read: systemd.syntax(7) for lines, systemd.service(5) for command lines, systemd.unit(5)
/// for specifiers. Written from those pages; nothing of it is shared with what renders.
private enum UnitReader {
    struct Problem: Error { let text: String }

    /// The assignments of each section, in order.
    static func read(_ text: String) throws -> [String: [(key: String, value: String)]] {
        var sections: [String: [(key: String, value: String)]] = [:]
        var section: String?
        // systemd ends a line at LF, at CR and at NUL.
        let lines = Array(text.utf8).split(omittingEmptySubsequences: false) { [0x0A, 0x0D, 0].contains($0) }
        for bytes in lines {
            guard let line = String(validating: bytes, as: UTF8.self) else { throw Problem(text: "no UTF-8") }
            guard bytes.last != UInt8(ascii: "\\") else { throw Problem(text: "a line goes on: \(line)") }
            let first = bytes.first { !isBlank($0) }
            guard let first, first != UInt8(ascii: "#"), first != UInt8(ascii: ";") else { continue }
            if first == UInt8(ascii: "[") {
                guard bytes.last == UInt8(ascii: "]") else { throw Problem(text: "no section: \(line)") }
                section = String(line.dropFirst().dropLast())
                continue
            }
            guard let section, let equals = bytes.firstIndex(of: UInt8(ascii: "=")) else {
                throw Problem(text: "no assignment: \(line)")
            }
            let key = String(decoding: bytes[..<equals], as: UTF8.self)
            let value = trimmed(bytes[(equals + 1)...])
            sections[section, default: []].append((key, String(decoding: value, as: UTF8.self)))
        }
        return sections
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// Blanks at the ends of a value do not belong to it.
    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var rest = bytes.drop(while: isBlank)
        while let last = rest.last, isBlank(last) { rest.removeLast() }
        return rest
    }

    /// The words of a command line whose `$` is not expanded.
    static func words(_ value: String) throws -> [[UInt8]] {
        guard value.utf8.first == UInt8(ascii: ":") else { throw Problem(text: "variables are expanded") }
        var words: [[UInt8]] = []
        var rest = Array(value.utf8.dropFirst())[...]
        while true {
            rest = rest.drop(while: isBlank)
            guard !rest.isEmpty else { return words }
            words.append(try specifiersExpanded(try word(&rest)))
        }
    }

    private static func word(_ rest: inout ArraySlice<UInt8>) throws -> [UInt8] {
        guard let quote = rest.first, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else {
            let word = rest.prefix { !isBlank($0) }
            guard !word.contains(where: { "\\\"';".utf8.contains($0) }) else {
                throw Problem(text: "syntax in a bare word")
            }
            rest = rest[word.endIndex...]
            return Array(word)
        }
        rest.removeFirst()
        var word: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == quote {
                guard rest.isEmpty || isBlank(rest[rest.startIndex]) else { throw Problem(text: "text after a quote") }
                return word
            }
            word.append(byte == UInt8(ascii: "\\") ? try escape(&rest) : byte)
        }
        throw Problem(text: "a quote is not closed")
    }

    /// systemd.syntax(7), "Quoting": the C escapes.
    private static func escape(_ rest: inout ArraySlice<UInt8>) throws -> UInt8 {
        guard let kind = rest.popFirst() else { throw Problem(text: "an escape ends the line") }
        let letters: [Character: UInt8] = [
            "a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 0x5C, "\"": 0x22, "'": 0x27, "s": 0x20,
        ]
        if let byte = letters[Character(Unicode.Scalar(kind))] { return byte }
        guard kind == UInt8(ascii: "x"), rest.count >= 2,
            let byte = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), byte != 0
        else { throw Problem(text: "an unknown escape") }
        rest.removeFirst(2)
        return byte
    }

    /// systemd.unit(5), "Specifiers": two percent signs are one, and the instance's name is nothing in a unit without
    /// one; nothing here means any other.
    static func specifiersExpanded(_ bytes: [UInt8]) throws -> [UInt8] {
        var expanded: [UInt8] = []
        var rest = bytes[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                switch rest.popFirst() {
                case UInt8(ascii: "%"): break
                case UInt8(ascii: "i"): continue
                default: throw Problem(text: "a specifier")
                }
            }
            expanded.append(byte)
        }
        return expanded
    }
}

@Suite struct SyntaxRoundTripTests {
    private static let service = [
        "Type", "ExecStart", "User", "WorkingDirectory", "EnvironmentFile", "Restart", "RestartSec", "TimeoutStopSec",
        "Slice", "IOAccounting", "LogExtraFields", "LogRateLimitIntervalSec", "LogRateLimitBurst",
    ]

    private static let streams = [
        "/usr/bin/systemd-cat", "-t", "miosa-service-web", "-p", "info", "--stderr-priority=err", "--level-prefix=no",
        "/bin/sh", "-c", "echo \u{2060}; echo \u{2060} >&2; exec \"$@\"", "sh",
    ]

    /// Whether systemd changes into the directory itself: not where it has a component "." or "..".
    private static func isSystemds(_ path: String) -> Bool {
        !path.split(separator: "/").contains { $0 == "." || $0 == ".." }
    }

    @Test(arguments: [0x5EED, 0xBEEF, 1, 2] as [UInt64])
    func `whatever is in a spec comes out of its unit file and nothing else does`(seed: UInt64) throws {
        var generator = SplitMix64(state: seed)
        for index in 0..<500 {
            let command = "x" + Samples.text(&generator, scalarsLimit: 60, without: [])
            let path = "/" + Samples.text(&generator, scalarsLimit: 30, without: ["\n", "\r"])
            let spec = try Samples.spec { draft in
                draft.command = command
                draft.workingDirectory = path
                draft.environment = ["A": "b"]
            }
            let text = UnitFile.render(spec, id: "1-2", privateFile: "/var/lib/%n/a b.env")
            let context = "seed \(seed), case \(index): \(text.debugDescription)"
            do {
                let sections = try UnitReader.read(text)
                #expect(sections.keys.sorted() == ["Install", "Service", "Unit"], "\(context)")
                let isSystemds = Self.isSystemds(path)
                let keys = Self.service.filter { isSystemds || $0 != "WorkingDirectory" }
                #expect(sections["Service"]?.map(\.key) == keys, "\(context)")
                #expect(sections["Unit"]?.count == 3 && sections["Install"]?.count == 1, "\(context)")
                let values = Dictionary(sections["Service"] ?? []) { first, _ in first }
                let words = try UnitReader.words(values["ExecStart"] ?? "")
                let script = ShellCommand.script(for: command)
                let change = isSystemds ? [] : ["/usr/bin/env", "--chdir=\(path)", "--"]
                #expect(
                    words == (Self.streams + change + ["/bin/sh", "-c", script]).map { Array($0.utf8) },
                    "\(context)"
                )
                let directory = try UnitReader.specifiersExpanded(Array((values["WorkingDirectory"] ?? "").utf8))
                #expect(directory == (isSystemds ? Array(path.utf8) : []), "\(context)")
                let environment = try UnitReader.specifiersExpanded(Array((values["EnvironmentFile"] ?? "").utf8))
                #expect(environment == Array("/var/lib/%n/a b.env".utf8), "\(context)")
            } catch let problem as UnitReader.Problem {
                Issue.record("\(problem.text); \(context)")
            }
        }
    }

    @Test func `the reader knows bad syntax`() {
        for value in [":/bin/sh \"a", ":/bin/sh \"a\"b", "/bin/sh", ":a\\b", ":\"\\q\"", ":\"\\x0\"", ":%h", ":\"a\\"] {
            #expect(throws: UnitReader.Problem.self, "\(value)") { try UnitReader.words(value) }
        }
        for text in ["a=b", "[Unit]\nnothing", "[Unit]\na=b\\\nc", "[Unit\n"] {
            #expect(throws: UnitReader.Problem.self, "\(text)") { try UnitReader.read(text) }
        }
    }
}
