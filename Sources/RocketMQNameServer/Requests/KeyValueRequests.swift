import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

// The key-value configuration: 100, 101, 102, 219. Changes are answered when they are safe in the file.
extension NameServer {
    func putKeyValue(_ request: RemotingCommand, _ connection: ServerConnection) throws -> Reply {
        let (namespace, key) = (try request.text("namespace"), try request.text("key"))
        keyValues.put(try request.text("value"), namespace: namespace, key: key)
        log.info("\(connection.peer) set \(namespace) \(key)")
        return saveKeyValues(request, connection)
    }

    func getKeyValue(_ request: RemotingCommand) throws -> RemotingCommand {
        let (namespace, key) = (try request.text("namespace"), try request.text("key"))
        guard let value = keyValues[namespace, key] else {
            return .response(.queryNotFound, "there is no key \(key) in namespace \(namespace)")
        }
        return .success(["value": value])
    }

    func deleteKeyValue(_ request: RemotingCommand, _ connection: ServerConnection) throws -> Reply {
        let (namespace, key) = (try request.text("namespace"), try request.text("key"))
        guard keyValues.remove(namespace: namespace, key: key) else { return .now(.success()) }
        log.info("\(connection.peer) deleted \(namespace) \(key)")
        return saveKeyValues(request, connection)
    }

    func listKeyValues(_ request: RemotingCommand) throws -> RemotingCommand {
        let namespace = try request.text("namespace")
        guard let pairs = keyValues[namespace] else { return .response(.queryNotFound, "there is no namespace \(namespace)") }
        return .success(body: KVTable(table: pairs).encoded())
    }

    private func saveKeyValues(_ request: RemotingCommand, _ connection: ServerConnection) -> Reply {
        let path = settings[NameServerSettings.kvConfigPath]
        save(keyValues.encoded(), to: path) { [self] failure in
            guard let failure else { return answer(request, .success(), connection) }
            log.error("the key-value configuration could not be saved: \(failure)")
            answer(request, .response(.systemError, "in force until the name server restarts, but not saved: \(failure)"), connection)
        }
        return .later
    }

    /// Replaces a file away from the loop; `completion` is called on it. Files are written in the order of the calls.
    func save(_ bytes: [UInt8], to path: String, completion: @escaping (FileSystemError?) -> Void) {
        let completion = LoopBound(completion, on: loop)
        worker.run { [fileSystem, loop] in
            let failure = Self.replace(path, with: bytes, in: fileSystem)
            loop.execute { completion.value(failure) }
        }
    }

    static func replace(_ path: String, with bytes: [UInt8], in fileSystem: any FileSystem) -> FileSystemError? {
        do throws(FileSystemError) {
            if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
                try fileSystem.createDirectoryDurably(String(path[..<slash]))
            }
            try fileSystem.replaceDurably(path, with: bytes)
            return nil
        } catch {
            return error
        }
    }

    /// Reads the file, or the one kept from before the last change when a crash left only that.
    func loadKeyValues() throws(NameServerError) {
        let path = settings[NameServerSettings.kvConfigPath]
        if let found = try readKeyValues(path) {
            keyValues = found
        } else if let found = try readKeyValues(path + ".bak") {
            log.warning("\(path) is missing: the key-value configuration is taken from \(path).bak")
            keyValues = found
        }
    }

    private func readKeyValues(_ path: String) throws(NameServerError) -> KeyValueConfiguration? {
        let bytes: [UInt8]?
        do throws(FileSystemError) {
            bytes = try fileSystem.contents(of: path)
        } catch {
            throw .unreadableKeyValues(path: path, reason: error.reason)
        }
        guard let bytes else { return nil }
        do throws(MalformedBytes) {
            return try KeyValueConfiguration(decoding: bytes)
        } catch {
            throw .unreadableKeyValues(path: path, reason: error.description)
        }
    }
}
