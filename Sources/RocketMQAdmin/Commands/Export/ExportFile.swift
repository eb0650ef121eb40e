import RocketMQBase
import RocketMQProtocol

/// A file of JSON that a command writes or reads.
struct ExportFile: Sendable {
    static let directory = CommandOption<String>(
        "filePath", "f", value: "DIRECTORY", "Where to write the file, /tmp/rocketmq/export unless given; - for standard output.")
    static let defaultDirectory = "/tmp/rocketmq/export"
    /// Larger files are nothing that these commands wrote.
    private static let mostBytes: Int64 = 256 << 20

    /// `-` for standard output.
    let directory: String

    init(_ arguments: CommandArguments) {
        var path = arguments[Self.directory] ?? Self.defaultDirectory
        while path.count > 1, path.last == "/" { path.removeLast() }
        directory = path
    }

    /// Writes `name` into the directory, which is made; another file of the name is replaced as a whole.
    func write(_ json: JSONValue, name: String, _ context: AdminContext) throws(AdminError) {
        guard directory != "-" else { return context.environment.write("\(json)\n") }
        let path = (directory == "/" ? "" : directory) + "/" + name
        let files = context.environment.fileSystem
        do throws(FileSystemError) {
            try files.createDirectory(directory)
            try files.replaceDurably(path, with: Written(json: json).encodedIndented(), keepingBackup: false)
        } catch {
            throw AdminError(.refused, "\(path) cannot be written: \(error)", remedy: "-f DIRECTORY names another place, -f - prints it")
        }
        context.show(["file": .string(path)], text: "export \(path) success\n")
    }

    private struct Written: JSONBody {
        var json: JSONValue
    }

    /// The JSON value of a file.
    static func read(_ path: String, _ context: AdminContext) throws(AdminError) -> JSONValue {
        let found: [UInt8]?
        do throws(FileSystemError) { found = try context.environment.fileSystem.contents(of: path) } catch {
            throw AdminError(.wrongCall, "\(path) cannot be read: \(error)")
        }
        guard let bytes = found else {
            throw AdminError(.wrongCall, "there is no file \(path)", remedy: "mqadmin exportMetadata writes such files")
        }
        guard bytes.count <= mostBytes else { throw AdminError(.wrongCall, "\(path) has \(bytes.count) bytes: too many for a list") }
        do throws(MalformedBytes) { return try JSONValue(parsing: bytes) } catch {
            throw AdminError(.wrongCall, "\(path) is no JSON: \(error.what)")
        }
    }
}
