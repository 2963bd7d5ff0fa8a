internal import API
internal import HTTP
internal import Systemd

/// The daemon's metrics about itself.
@EventLoopActor
final class AgentMetrics {
    private var requests = RequestMetrics()
    /// Returns the number of open streams.
    var streams: @EventLoopActor () -> AgentMeasurements.Streams = { AgentMeasurements.Streams() }
    /// Returns the numbers of audit entries that are not on disk.
    var audit: @EventLoopActor () -> AgentMeasurements.Audit = { AgentMeasurements.Audit() }

    /// Counts an answered request; `head` is nil if it could not be parsed.
    func count(_ reply: API.Reply, _ head: RequestHead?, _ duration: Duration) {
        requests.count(route: reply.route, method: head?.method, status: reply.response.status, duration)
    }

    func measure() -> AgentMeasurements {
        let usage = ProcessUsage.now()
        var agent = AgentMeasurements(version: Version.text)
        agent.process.cpu = usage.cpu
        agent.process.residentBytes = usage.residentBytes
        agent.process.startedAtSeconds = usage.startedAtSeconds
        agent.process.openFiles = usage.openFiles
        agent.process.openFilesLimit = usage.openFilesLimit
        agent.requests = requests
        agent.streams = streams()
        agent.audit = audit()
        return agent
    }
}
