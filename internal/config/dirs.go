package config

import (
	"errors"
	"path/filepath"
)

// dataDir is where state lives: $XDG_DATA_HOME/downbeat wherever that is set,
// else what the system's conventions say.
func (src Source) dataDir() (string, error) {
	return src.dir("XDG_DATA_HOME", "LOCALAPPDATA", ".local/share")
}

// configDir is where the configuration file lives.
func (src Source) configDir() (string, error) {
	return src.dir("XDG_CONFIG_HOME", "APPDATA", ".config")
}

func (src Source) dir(xdg, windows, unix string) (string, error) {
	// The XDG specification: a relative path is invalid and ignored.
	if d := src.Env(xdg); filepath.IsAbs(d) {
		return filepath.Join(d, "downbeat"), nil
	}
	if src.GOOS == "windows" {
		if d := src.Env(windows); d != "" {
			return filepath.Join(d, "downbeat"), nil
		}
	}
	home, err := src.Home()
	if err != nil {
		return "", err
	}
	if home == "" {
		return "", errors.New("no home directory")
	}
	switch src.GOOS {
	case "darwin", "ios":
		return filepath.Join(home, "Library", "Application Support", "downbeat"), nil
	case "windows":
		return filepath.Join(home, "AppData", "Local", "downbeat"), nil
	}
	return filepath.Join(home, filepath.FromSlash(unix), "downbeat"), nil
}
