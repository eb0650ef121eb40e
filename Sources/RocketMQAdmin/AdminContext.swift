import RocketMQBase
import RocketMQClient
import RocketMQProtocol

/// What a command works with: the servers, and a place for what it has to say.
public struct AdminContext: Sendable {
    public let client: AdminClient
    let environment: AdminEnvironment
    /// Whether to print JSON.
    let wantsJSON: Bool

    var time: LocalTime { environment.time }
    var clock: any SystemClock { environment.client.eventLoop.clock }
    var nowMilliseconds: Int64 { clock.wallMilliseconds }

    // MARK: Saying

    /// Prints a result in the form that is wanted.
    func show(_ json: @autoclosure () -> JSONValue, text: @autoclosure () -> String) {
        environment.write(wantsJSON ? "\(json())\n" : text())
    }

    func show(_ table: Table) { show(table.json, text: table.text) }

    /// Prints a line for people as the work goes on; nothing when JSON is wanted.
    func say(_ line: String) {
        if !wantsJSON { environment.write(Printable.line(line) + "\n") }
    }

    /// Tells of something that did not work and is not the end of the command.
    func warn(_ line: String) { environment.complain("mqadmin: \(Printable.line(line))") }

    // MARK: Doing the same in several places

    /// Where something was done, and where not.
    struct Progress {
        var done: [String] = []
        var failed: [AdminError] = []

        /// Throws when something failed.
        func check() throws(AdminError) {
            guard let first = failed.first else { return }
            guard !done.isEmpty || failed.count > 1 else { throw first }
            let others = done.isEmpty ? "none succeeded" : "done at \(done.joined(separator: ", "))"
            throw AdminError(
                .partly,
                "failed at \(failed.count) of \(failed.count + done.count) servers, \(others): "
                    + failed.map(\.message).joined(separator: "; "),
                remedy: first.remedy, responseCode: first.responseCode)
        }
    }

    /// Does something at each address; a failure does not keep it from the rest.
    func atEach(_ addresses: [String], _ work: (String) async throws(AdminError) -> Void) async -> Progress {
        var progress = Progress()
        for address in addresses {
            do throws(AdminError) {
                try await work(address)
                progress.done.append(address)
            } catch {
                progress.failed.append(error)
            }
        }
        return progress
    }

    /// Does something at each nameserver.
    func atEachNameServer(_ work: (String) async throws(AdminError) -> Void) async throws(AdminError) -> Progress {
        await atEach(try client.requireNameServers(), work)
    }
}
