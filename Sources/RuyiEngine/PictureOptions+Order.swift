import RuyiFamilies
import RuyiFiles
import RuyiMedia

extension PictureOptions {
    /// What values say about the reading of pictures; recorded draws go with what the reference makes of a file.
    public init(_ values: SettingValues) {
        self = values[CommonSettings.table.noise] == nil ? PictureOptions() : .asStored
        let table = RunSettings.table
        orientation = values[table.orientation] ?? orientation
        color = values[table.color] ?? color
        alpha = values[table.alpha] ?? alpha
        maxPixels = values[table.maxPixels] ?? maxPixels
        if let name = values[table.padColor], let color = PadColor(name) {
            (background, backgroundName) = (color.pixel, name)
        }
    }

    /// Puts what was settled into the values that make a clip again.
    func put(into values: inout SettingValues) {
        let table = RunSettings.table
        (values[table.orientation], values[table.color], values[table.alpha]) = (orientation, color, alpha)
    }

    /// The settings that say how pictures are read, for commands that have them beside their own.
    public static var settings: [any AnySetting] {
        let table = RunSettings.table
        return [table.orientation, table.color, table.alpha, table.padColor, table.maxPixels]
    }
}

extension Order {
    /// How pictures are read.
    var pictureOptions: PictureOptions { PictureOptions(request.values) }
}
