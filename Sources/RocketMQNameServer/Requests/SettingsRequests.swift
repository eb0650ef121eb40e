import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

// The name server's own settings: 318 changes them; 319 shows them.
extension NameServer {
    /// Changes all the settings of the request or, when one of them cannot be changed, none.
    func updateSettings(_ request: RemotingCommand, _ connection: ServerConnection) throws -> Reply {
        let text: PropertiesText
        do throws(SettingsFinding) {
            text = try PropertiesText(request.body, source: "request")
        } catch {
            throw InvalidRequest(error.description)
        }
        let update = settings.updated(
            with: text, forbidden: NameServerSettings.forbiddenNames(settings), peer: connection.peer.description)
        // The reference's settings that do nothing here may be sent to all name servers of a mixed site.
        let refused = update.refused.filter { $0.reason != .withoutEffect }
        if let first = refused.first {
            let code: ResponseCode = refused.contains { $0.reason == .forbidden } ? .noPermission : .systemError
            log.warning("\(connection.peer) may not change settings: \(first)")
            return .now(.response(code, refused.map(\.message).joined(separator: "; ") + "; nothing was changed"))
        }
        guard !update.changed.isEmpty else { return .now(.success(update.remark)) }
        settings = update.values
        log.threshold.set(settings[CommonSettings.logLevel])
        for change in update.changed { log.info("\(connection.peer) changed \(change.name) from \(change.old) to \(change.new)") }
        saveSettings(update, request, connection)
        return .later
    }

    private func saveSettings(_ update: SettingsUpdate, _ request: RemotingCommand, _ connection: ServerConnection) {
        let path = settingsFile ?? settings[NameServerSettings.configStorePath]
        let report: (String?) -> Void = { [self] failure in
            guard let failure else { return answer(request, .success(update.remark), connection) }
            log.error("changed settings could not be saved: \(failure)")
            answer(request, .response(.systemError, "in force until the name server restarts, but not saved: \(failure)"), connection)
        }
        let completion = LoopBound(report, on: loop)
        worker.run { [fileSystem, loop] in
            let failure = SettingsFile.replace(update.changed, in: path, fileSystem)
            loop.execute { completion.value(failure) }
        }
    }
}

extension RemotingCommand {
    fileprivate static func success(_ remark: String?) -> RemotingCommand { .response(.success, remark) }
}
