import JSON
import TestSupport

@testable import Services

/// Values that tests begin with.
enum Samples {
    static func draft(_ change: (inout SpecDraft) -> Void = { _ in }) -> SpecDraft {
        var draft = SpecDraft()
        draft["name"] = "web"
        draft["command"] = "server"
        change(&draft)
        return draft
    }

    static func spec(_ change: (inout SpecDraft) -> Void = { _ in }) throws(FieldProblems) -> ServiceSpec {
        try draft(change).validated(defaults: SpecDraft.Defaults(user: "user"))
    }

    /// The unit file of a spec.
    static func unitFile(_ spec: ServiceSpec) -> String {
        UnitFile.render(
            spec,
            id: "0d4fcb5e-2f3c-4f7e-9d05-5d2f2c1f8a10",
            privateFile: "/var/lib/miosa-agent/environment/web.env"
        )
    }

    /// What Unicode keeps out of text that is exchanged, and the compiler out of its sources.
    static let noncharacter = String(Unicode.Scalar(0xFFFF) ?? "?")

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
            // Noncharacters do not come into the unit file.
            if !excluded.contains(scalar), !LaunchCredential.hasNoncharacter(String(scalar)) { text.append(scalar) }
        }
        return String(text)
    }
}
