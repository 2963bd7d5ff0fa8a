/// A value that is somewhere else, so that the place for it is small: a dictionary has more places than values.
final class Box<Value> {
    let value: Value

    init(_ value: Value) { self.value = value }
}
