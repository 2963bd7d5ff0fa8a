internal import CSystemd
internal import Glibc

/// The credentials that systemd passes to the service: systemd.exec(5), `LoadCredential=`.
public enum Credentials {
    /// The largest credential.
    public static let bytesLimit = 64 * 1024

    /// The text of a credential without a final line end; nil when it was not passed. Throws EILSEQ when it is not
    /// UTF-8.
    public static func text(_ name: String, directory: String?) throws(SystemError) -> String? {
        guard let directory else { return nil }
        let opened: Directory
        do throws(SystemError) {
            opened = try Directory(directory)
        } catch let error where error.isNotFound {
            return nil
        }
        guard var bytes = try opened.read(name, limitBytes: bytesLimit) else { return nil }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw SystemError(call: "read", code: EILSEQ) }
        return text
    }
}
