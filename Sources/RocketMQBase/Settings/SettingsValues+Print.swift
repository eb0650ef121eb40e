extension SettingsValues {
    /// How `propertiesText` writes.
    public enum PrintStyle: Sendable {
        /// `key=value` lines alone: the body of configuration requests (26, 319).
        case plain
        /// Grouped, and before each value that is not the default a comment with the default and where the value is from.
        case marked
        /// As `marked`, and before each value what it is for and what is allowed.
        case explained
    }

    /// All settings in force as text that `PropertiesText` and Java read back.
    public func propertiesText(_ style: PrintStyle = .plain) -> String {
        var result = ""
        for group in schema.groups {
            if style != .plain { result += (result.isEmpty ? "" : "\n") + "# \(group.title)\n" }
            for setting in group.settings {
                if style == .explained { result += "\n" + explanation(of: setting) }
                let text = text(of: setting.name) ?? setting.defaultText
                if style != .plain, text != setting.defaultText {
                    let standard = setting.defaultText.isEmpty ? "nothing" : PropertiesText.commentText(setting.defaultText)
                    result += "# changed; default \(standard); from \(PropertiesText.commentText(origin(of: setting).description))\n"
                }
                result += PropertiesText.line(key: setting.name, value: text) + "\n"
            }
        }
        return result
    }

    private func explanation(of setting: any SettingDeclaration) -> String {
        var facts = [setting.allowed]
        if setting.unit != .none { facts.append(setting.unit.rawValue) }
        if setting.isChangeable { facts.append("can be changed while running") }
        return "# \(setting.text)\n# (\(facts.joined(separator: "; ")))\n"
    }
}

extension PropertiesText {
    /// Text for a comment: a line end in it would start a setting.
    fileprivate static func commentText(_ text: String) -> String { printable(text) }
}
