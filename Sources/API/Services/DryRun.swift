internal import HTTP
internal import JSON
internal import Services

/// The query parameter `dry_run`: the answer says what a change would do, and nothing is changed.
enum DryRun {
    static let parameter = "dry_run"

    /// The verdict on a spec, for an existing service or a new one. Throws the 412 that the change would get where
    /// `condition` is not met.
    static func answer(
        _ spec: ServiceSpec,
        _ existing: Service?,
        restarts: Bool = true,
        if condition: Precondition? = nil,
        _ api: API,
        _ context: Context
    ) async throws(Failure) -> Answer {
        if let condition, !(existing.map { condition.isMet(by: $0.record.spec) } ?? false) {
            throw Failure(.preconditionFailed)
        }
        if existing == nil {
            if let reason = spec.name.problemOfNew { throw Failure(.nameReserved(reason)) }
            if (try? context.control.service(spec.name.description)) != nil {
                throw Failure(.serviceExists)
            }
        }
        let changed = existing.map { spec.differences(from: $0.record.spec) } ?? []
        let isRunning = existing?.state.mainPID != nil
        let unit: String
        do throws(ControlError) {
            unit = try await context.control.unitText(of: spec, id: existing?.record.id)
        } catch {
            throw Failure(error)
        }
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        writer.beginObject()
        writer.member("verdict", string: existing == nil ? "created" : changed.isEmpty ? "unchanged" : "changed")
        writer.key("changed")
        writer.beginArray()
        for field in changed { writer.string(field.key) }
        writer.endArray()
        writer.member("restarts", bool: restarts && isRunning && changed.contains { $0.restarts })
        writer.member("unit", string: unit)
        writer.endObject()
        writer.endObject()
        return Answer(response: Response(json: writer), service: spec.name.description)
    }
}
