import RocketMQBase
import RocketMQSystem

/// The settings that a program starts with: built-in values, over them those of a file, over them those of options.
struct LoadedSettings {
    private(set) var values: SettingsValues
    /// The file they came from, if any.
    private(set) var file: String?
    /// What there is to say about them; the start must not go on with an error among it.
    private(set) var findings: [SettingsFinding] = []

    init(
        _ schema: SettingsSchema, arguments: CommandArguments, fileSystem: any FileSystem,
        applyOptions: (CommandArguments, inout SettingsValues) throws(SettingsFinding) -> Void
    ) {
        values = SettingsValues(schema)
        if let path = arguments[ServerProgram.configurationFile] {
            file = path
            read(path, fileSystem)
        }
        do throws(SettingsFinding) { try applyOptions(arguments, &values) } catch { findings.append(error) }
        values.expandHome(CurrentProcess.homeDirectory)
        findings += values.violatedRules()
    }

    private mutating func read(_ path: String, _ fileSystem: any FileSystem) {
        do throws(FileSystemError) {
            if let bytes = try fileSystem.contents(of: path) {
                findings += values.apply(bytes, source: path)
            } else {
                findings.append(SettingsFinding(.error, source: path, line: 0, key: "", "there is no such file"))
            }
        } catch {
            findings.append(SettingsFinding(.error, source: path, line: 0, key: "", "cannot be read: \(error.reason)"))
        }
    }
}
