/// A value on the heap, so that a dictionary entry is one pointer: a dictionary reserves more entries than it holds.
final class Box<Value> {
    let value: Value

    init(_ value: Value) { self.value = value }
}
