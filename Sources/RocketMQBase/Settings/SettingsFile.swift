/// The file that a program was started with, into which settings changed meanwhile are written back.
public enum SettingsFile {
    /// Puts changes into the file, the rest of which stays as it is with its comments. After a crash the old text is there or
    /// the new one. Blocks: for a worker. Returns what failed.
    public static func replace(
        _ changes: [SettingsUpdate.Change], in path: String, _ fileSystem: any FileSystem
    ) -> String? {
        do {
            if let slash = path.lastIndex(of: "/"), slash > path.startIndex { try fileSystem.createDirectory(String(path[..<slash])) }
            let text = try PropertiesText(try fileSystem.contents(of: path) ?? [], source: path)
            let replaced = text.replacing(changes.map { (key: $0.name, value: $0.new) })
            // No .bak: it would leave an instant without a file to start with.
            try fileSystem.replaceDurably(path, with: Array(replaced.utf8), keepingBackup: false)
            return nil
        } catch {
            return "\(error)"
        }
    }
}
