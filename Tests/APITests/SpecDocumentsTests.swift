import Foundation
import JSON
import Services
import Testing

/// The documents say of the fields of a spec what their declarations say. `MIOSA_AGENT_WRITE_DOCUMENTS=1 swift test
/// --filter SpecDocuments` writes it there.
struct SpecDocumentsTests {
    @Test func `the schemas are those of the declarations`() throws {
        let path = "Sources/API/openapi.json"
        let former = try OpenAPIDocument().root
        let wanted = SpecDocuments.text(SpecDocuments.describing(former))
        if SpecDocuments.isToBeWritten { try Repository.write(wanted, to: path) }
        #expect(try Repository.text(of: path) == wanted)
    }

    @Test func `the README's table is that of the declarations`() throws {
        let path = "README.md"
        let head = "| field | |\n| --- | --- |\n"
        var text = try Repository.text(of: path)
        let begin = try #require(text.range(of: head)).upperBound
        let end = try #require(text[begin...].range(of: "\n\n")).lowerBound
        let wanted = String(SpecDocuments.table.dropLast())
        if SpecDocuments.isToBeWritten {
            text.replaceSubrange(begin..<end, with: wanted)
            try Repository.write(text, to: path)
        }
        #expect(text[begin...].hasPrefix(wanted + "\n\n"))
    }

    @Test func `a field is declared and listed once`() {
        let keys = SpecFields.all.flatMap { [$0.key] + $0.aliases.map(\.key) }
        #expect(Set(keys).count == keys.count)
        for field in SpecFields.all {
            #expect(field.isValue(field.standardValue), "\(field.key)")
            #expect(!field.summary.isEmpty, "\(field.key)")
        }
    }
}
