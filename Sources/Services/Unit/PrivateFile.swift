/// The file of a service that only root can read. Its content is in no other file but the service's record.
public enum PrivateFile {
    /// The content: the environment file, or the launcher's credential; nil if the service needs neither.
    public static func render(_ spec: ServiceSpec) -> String? {
        if LaunchCredential.isNeeded(for: spec) { return LaunchCredential.render(spec) }
        return spec.environment.isEmpty ? nil : EnvironmentFile.render(spec.environment)
    }
}
