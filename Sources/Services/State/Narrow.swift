/// An integer in a small storage type: a service's state is stored several times, for the events among others. A value
/// out of range is clamped.
@propertyWrapper
public struct Narrow<Storage: FixedWidthInteger & Sendable>: Equatable, Sendable {
    private var storage: Storage

    public init(wrappedValue: Int) { storage = Storage(clamping: wrappedValue) }

    public var wrappedValue: Int {
        get { Int(clamping: storage) }
        set { storage = Storage(clamping: newValue) }
    }
}

/// The same of a process id; nil when there is none.
@propertyWrapper
public struct NarrowPID: Equatable, Sendable {
    private var storage: Int32

    public init(wrappedValue: Int?) { storage = Int32(clamping: wrappedValue ?? 0) }

    public var wrappedValue: Int? {
        get { storage == 0 ? nil : Int(storage) }
        set { storage = Int32(clamping: newValue ?? 0) }
    }
}
