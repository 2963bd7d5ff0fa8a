/// The version of the agent; CHANGELOG.md says what each one brought.
enum Version {
    static let text = "0.1.0"
}
