plugins {
    java
    id("org.springframework.boot") version "3.5.7"
}
