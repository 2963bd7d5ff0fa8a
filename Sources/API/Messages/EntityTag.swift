internal import HTTP
internal import JSON
internal import Services

/// The ETag of a service or of a list: `"SPEC.STATE"`, hashes of the spec and of the whole answer. RFC 9110 §8.8.3.
struct EntityTag {
    let spec: UInt64
    let state: UInt64

    /// As it is sent.
    var text: String { "\"\(Self.hexadecimal(spec)).\(Self.hexadecimal(state))\"" }

    static func hexadecimal(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The hash of all fields of a spec. For a client that may not see the values of environment variables it is that
    /// of their names: values could be guessed from a hash.
    static func hash(of spec: ServiceSpec, hidesValues: Bool = false) -> UInt64 {
        let shown = hidesValues ? spec.withHiddenValues() : spec
        return SpecFields.all.reduce(FNV1a.start) { FNV1a.hash($1.value(in: shown).encoded() + [0], from: $0) }
    }

    /// The tags of a field of a request, without quotation marks and `W/`. RFC 9110 §13.1.1.
    fileprivate static func tags(_ field: String) -> [Substring] {
        field.split(separator: ",").map { part in
            var tag = part.drop { $0 == " " || $0 == "\t" }
            while tag.last == " " || tag.last == "\t" { tag.removeLast() }
            if tag.hasPrefix("W/") { tag = tag.dropFirst(2) }
            return tag.count > 1 && tag.first == "\"" && tag.last == "\"" ? tag.dropFirst().dropLast() : tag
        }
    }
}

/// `If-Match` of a request that changes a service: only the part of the tags that is the spec's counts.
struct Precondition: Sendable {
    static let field = "If-Match"

    /// Nil for any spec.
    private let specs: [String]?

    /// Nil when the request has no such field.
    init?(_ fields: Fields) {
        guard let text = fields[Self.field] else { return nil }
        let tags = EntityTag.tags(text)
        specs = tags == ["*"] ? nil : tags.map { String($0.prefix { $0 != "." }) }
    }

    func isMet(by spec: ServiceSpec) -> Bool {
        specs?.contains(EntityTag.hexadecimal(EntityTag.hash(of: spec))) ?? true
    }
}

extension Response {
    /// A JSON document with its tag; a 304 without content when `If-None-Match` has the tag. RFC 9110 §13.1.2.
    init(json body: [UInt8], _ tag: EntityTag, _ fields: Fields) {
        self.init("application/json", body, tag, fields)
    }

    /// The same with text.
    init(text body: [UInt8], _ tag: EntityTag, _ fields: Fields) {
        self.init("text/plain; charset=utf-8", body, tag, fields)
    }

    private init(_ contentType: String, _ body: [UInt8], _ tag: EntityTag, _ fields: Fields) {
        let text = tag.text
        let isKnown =
            fields["If-None-Match"].map { known in
                EntityTag.tags(known).contains { $0 == "*" || text.utf8.dropFirst().dropLast().elementsEqual($0.utf8) }
            } ?? false
        if isKnown {
            self.init(status: .notModified)
        } else {
            self.init(status: .ok, contentType: contentType, body: body)
        }
        self.fields.append("ETag", text)
    }
}
