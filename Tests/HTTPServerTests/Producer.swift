import HTTP
import Systemd
import TestSupport

/// The maker of a streamed body, led by the test step by step. Between the steps it waits as one does who looks out for
/// news: until there are some, or until its task is cancelled.
@EventLoopActor
final class Producer {
    private enum Step {
        case write([UInt8])
        case fail
        case end
    }

    /// What has become of it, in order: "begun", "wrote" for each piece, and how it went on when that failed; then
    /// "ended", "failed" or "cancelled".
    let events = Arrivals<String>()
    private var steps: [Step] = []
    private var waiting: CheckedContinuation<Void, Never>?

    nonisolated var stream: BodyStream {
        BodyStream { writer throws(BodyStreamClosed) in try await self.produce(writer) }
    }

    func write(_ text: String) { add(.write(Array(text.utf8))) }

    func write(_ bytes: [UInt8]) { add(.write(bytes)) }

    /// Says that it cannot go on.
    func fail() { add(.fail) }

    func end() { add(.end) }

    private func add(_ step: Step) {
        steps.append(step)
        wake()
    }

    private func wake() {
        waiting?.resume()
        waiting = nil
    }

    private func produce(_ writer: any BodyWriter) async throws(BodyStreamClosed) {
        events.add("begun")
        while let step = await nextStep() {
            switch step {
            case .write(let bytes):
                do throws(BodyStreamClosed) {
                    try await writer.write(bytes)
                } catch {
                    events.add(Task.isCancelled ? "closed and cancelled" : "closed")
                    throw error
                }
                events.add("wrote")
            case .fail:
                events.add("failed")
                throw BodyStreamClosed()
            case .end:
                events.add("ended")
                return
            }
        }
        events.add("cancelled")
    }

    private func nextStep() async -> Step? {
        while steps.isEmpty, !Task.isCancelled {
            await withTaskCancellationHandler {
                await withCheckedContinuation { waiting = $0 }
            } onCancel: {
                EventLoopActor.assumeIsolated { wake() }
            }
        }
        return Task.isCancelled ? nil : steps.removeFirst()
    }
}
