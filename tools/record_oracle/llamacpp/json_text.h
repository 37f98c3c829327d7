// JSON text, built in order: enough for the recorder's answers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>

class json_text {
  public:
    json_text & open(char bracket) { separate(); text_ += bracket; fresh_ = true; return *this; }
    json_text & close(char bracket) { text_ += bracket; fresh_ = false; return *this; }
    json_text & key(std::string_view name) { separate(); quote(name); text_ += ':'; fresh_ = true; return *this; }
    json_text & value(std::string_view word) { separate(); quote(word); return *this; }
    json_text & value(const char * word) { return value(std::string_view(word)); }
    json_text & value(bool truth) { separate(); text_ += truth ? "true" : "false"; return *this; }
    json_text & value(double number) { separate(); char out[32]; snprintf(out, sizeof out, "%.9g", number); text_ += out; return *this; }
    template <class Integer, std::enable_if_t<std::is_integral_v<Integer> && !std::is_same_v<Integer, bool>, int> = 0>
    json_text & value(Integer number) { separate(); text_ += std::to_string(number); return *this; }
    template <class Value> json_text & field(std::string_view name, const Value & what) { return key(name).value(what); }
    const std::string & text() const { return text_; }

  private:
    void separate() { if (!fresh_) text_ += ','; fresh_ = false; }
    void quote(std::string_view word) {
        text_ += '"';
        for (const char c : word) {
            if (c == '"' || c == '\\') { text_ += '\\'; text_ += c; }
            else if (static_cast<unsigned char>(c) < 0x20) { char out[8]; snprintf(out, sizeof out, "\\u%04x", c); text_ += out; }
            else text_ += c;
        }
        text_ += '"';
    }
    std::string text_;
    bool        fresh_ = true;
};
