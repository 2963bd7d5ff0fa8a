import HTTP
import Testing

@Suite struct FieldsTests {
    private let fields: Fields = ["A": "1", "B": "2", "a": "3"]

    @Test func `names are compared without regard to case`() {
        #expect(fields["b"] == "2")
        #expect(fields.contains("B"))
        #expect(!fields.contains("C"))
        #expect(fields["C"] == nil)
    }

    @Test func `several lines are one value joined with commas`() {
        #expect(fields["A"] == "1, 3")
        #expect(fields.values(of: "a") == ["1", "3"])
    }

    @Test func `iteration keeps order and spelling`() {
        #expect(fields.map { "\($0.name)=\($0.value)" } == ["A=1", "B=2", "a=3"])
    }

    @Test func `set leaves one line at the place of the first`() {
        var changed = fields
        changed.set("a", to: "4")
        changed.set("C", to: "5")
        #expect(changed == ["a": "4", "B": "2", "C": "5"])
    }

    @Test func `append and remove concern every spelling`() {
        var changed = fields
        changed.append("B", "6")
        changed.remove("A")
        #expect(changed == ["B": "2", "B": "6"])
    }

    @Test func `an empty value is a value`() {
        #expect((["A": ""] as Fields)["A"] == "")
    }
}
