internal import API
internal import HTTP
internal import Systemd

/// What the daemon counts about itself between two scrapes of its metrics.
@EventLoopActor
final class AgentMetrics {
    private var requests = RequestMetrics()
    /// Tells how many streams are open.
    var streams: @EventLoopActor () -> AgentMeasurements.Streams = { AgentMeasurements.Streams() }

    /// Counts a request that was answered; without a head it was none.
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
        return agent
    }
}
