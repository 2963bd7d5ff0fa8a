import TestSupport

@testable import Services

/// Values that tests begin with.
enum Samples {
    static func draft(_ change: (inout SpecDraft) -> Void = { _ in }) -> SpecDraft {
        var draft = SpecDraft()
        draft.name = "web"
        draft.command = "server"
        change(&draft)
        return draft
    }

    static func spec(_ change: (inout SpecDraft) -> Void = { _ in }) throws(FieldProblems) -> ServiceSpec {
        try draft(change).validated(defaults: SpecDraft.Defaults(user: "user"))
    }

    /// Text that is hard on anything that quotes: every kind of syntax, controls, many scripts, odd Unicode.
    static func text(_ generator: inout SplitMix64, scalarsLimit: Int, without excluded: Set<Unicode.Scalar>) -> String
    {
        let special = Array(
            "\\\"'%$`#;&|<>(){}[]*?!~=+-@:., \t\n\r\u{1}\u{7F}\u{85}\u{2028}\u{FEFF}abcxXnt019/\u{301}\u{200D}"
                .unicodeScalars
        )
        let count = Int.random(in: 0...scalarsLimit, using: &generator)
        var text = String.UnicodeScalarView()
        while text.count < count {
            let scalar: Unicode.Scalar
            if Int.random(in: 0..<4, using: &generator) > 0 {
                scalar = special.randomElement(using: &generator) ?? " "
            } else {
                guard let random = Unicode.Scalar(UInt32.random(in: 1...0x10FFFF, using: &generator)) else { continue }
                scalar = random
            }
            // systemd takes no noncharacters; what becomes of those is another test's matter.
            let isNoncharacter = scalar.value & 0xFFFE == 0xFFFE || (0xFDD0...0xFDEF).contains(scalar.value)
            if !excluded.contains(scalar), !isNoncharacter { text.append(scalar) }
        }
        return String(text)
    }
}
