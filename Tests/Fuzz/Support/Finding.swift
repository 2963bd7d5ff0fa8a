/// Ends the process, which libFuzzer takes for a finding, unless a property holds.
///
/// - Parameters:
///   - holds: whether it does.
///   - property: the property, as a sentence.
///   - subject: what it is about, told where it does not hold.
package func require<Subject>(
    _ holds: Bool,
    _ property: StaticString,
    _ subject: @autoclosure () -> Subject = ()
) {
    guard !holds else { return }
    fatalError("broken: \(property): \(String(reflecting: subject()))")
}
