internal import Services
internal import Systemd

/// The accounts of the machine that can have services of their own.
@EventLoopActor
final class Accounts {
    private let passwd = Passwd()

    /// The account of a uid; nil for a uid that passwd(5) does not have, and for a name that no service can run as.
    func account(of uid: UInt32) -> Account? {
        guard uid != 0, let entry = passwd.entry(of: uid), AccountName.problem(in: entry.name) == nil else {
            return nil
        }
        return Account(uid: uid, name: entry.name, home: entry.home)
    }
}
